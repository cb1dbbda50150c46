//! Protocol Buffers, as much of them as the API needs: fields one after the other, with bounds checked.

use std::fmt;

use thiserror::Error;

/// Bytes that are not what the API's definitions say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct WireError {
    /// Field numbers from the innermost message outwards
    path: Vec<u64>,
    reason: &'static str,
}

impl WireError {
    /// A whole message that makes no sense.
    pub fn new(reason: &'static str) -> Self {
        Self { path: Vec::new(), reason }
    }

    /// The same, found within the field of this number.
    pub fn within(mut self, number: u64) -> Self {
        self.path.push(number);
        self
    }
}

/// `field 2.1: not UTF-8`, with the numbers from the outermost message inwards.
impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<String> = self.path.iter().rev().map(u64::to_string).collect();
        if !path.is_empty() {
            write!(f, "field {}: ", path.join("."))?;
        }
        f.write_str(self.reason)
    }
}

/// Calls `take` with every field of a message. What it does not care for costs no more than being stepped over.
pub fn each<'a>(message: &'a [u8], mut take: impl FnMut(&Field<'a>) -> Result<(), WireError>) -> Result<(), WireError> {
    let mut rest = message;
    while !rest.is_empty() {
        let key = varint(&mut rest).ok_or_else(|| WireError::new("the message ends within a field's number"))?;
        let number = key >> 3;
        let value = match key & 7 {
            0 => varint(&mut rest).map(Value::Number),
            1 => split(&mut rest, 8).map(|_| Value::Fixed),
            2 => varint(&mut rest).and_then(|length| split(&mut rest, length)).map(Value::Bytes),
            5 => split(&mut rest, 4).map(|_| Value::Fixed),
            _ => return Err(WireError::new("a wire type that the API does not use").within(number)),
        };
        let value = value.ok_or_else(|| WireError::new("the message ends within it").within(number))?;
        take(&Field { number, value })?;
    }
    Ok(())
}

/// One field of a message.
pub struct Field<'a> {
    /// The number that the definition gives it.
    pub number: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Floating point and the like; nothing here reads them
    Fixed,
}

impl<'a> Field<'a> {
    /// This field is not what the definition says.
    pub fn error(&self, reason: &'static str) -> WireError {
        WireError::new(reason).within(self.number)
    }

    /// The bytes of an inner message.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error("neither text nor a message")),
        }
    }

    /// An inner message, read by `read`.
    pub fn message<T>(&self, read: impl FnOnce(&'a [u8]) -> Result<T, WireError>) -> Result<T, WireError> {
        read(self.bytes()?).map_err(|error| error.within(self.number))
    }

    /// Text.
    pub fn text(&self) -> Result<String, WireError> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_owned).map_err(|_| self.error("not UTF-8"))
    }

    /// Text, where absent and empty are the same: Go writes the empty string of a field that was never set.
    pub fn optional_text(&self) -> Result<Option<String>, WireError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    /// A number of 64 bits.
    pub fn long(&self) -> Result<i64, WireError> {
        match self.value {
            // Two's complement, as int32 and int64 are sent.
            Value::Number(number) => Ok(number as i64),
            _ => Err(self.error("not a number")),
        }
    }

    /// A number of 32 bits.
    pub fn int(&self) -> Result<i32, WireError> {
        i32::try_from(self.long()?).map_err(|_| self.error("a number of more than 32 bits"))
    }

    /// A number, where absent and 0 are the same.
    pub fn optional_int(&self) -> Result<Option<i32>, WireError> {
        Ok(Some(self.int()?).filter(|number| *number != 0))
    }

    /// True or false.
    pub fn flag(&self) -> Result<bool, WireError> {
        Ok(self.long()? != 0)
    }

    /// One entry of a map from text to text.
    pub fn entry(&self) -> Result<(String, String), WireError> {
        self.message(|bytes| {
            let mut entry = (String::new(), String::new());
            each(bytes, |field| {
                match field.number {
                    1 => entry.0 = field.text()?,
                    2 => entry.1 = field.text()?,
                    _ => {}
                }
                Ok(())
            })?;
            Ok(entry)
        })
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn split<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(message: &[u8]) -> Result<Vec<(u64, String)>, WireError> {
        let mut found = Vec::new();
        each(message, |field| {
            found.push((
                field.number,
                field.message(|inner| {
                    let mut text = String::new();
                    each(inner, |field| {
                        text = field.text()?;
                        Ok(())
                    })?;
                    Ok(text)
                })?,
            ));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn fields_come_in_order() {
        assert_eq!(texts(&[0x0a, 3, 0x0a, 1, b'a', 0x12, 0]).unwrap(), [(1, "a".to_owned()), (2, String::new())]);
    }

    #[test]
    fn errors_name_the_field() {
        let error = |message: &[u8]| texts(message).unwrap_err().to_string();
        assert_eq!(error(&[0x12, 3, 0x1a, 1, 0xff]), "field 2.3: not UTF-8");
        assert_eq!(error(&[0x12, 3, 0x1a, 2, b'a']), "field 2.3: the message ends within it");
        assert_eq!(error(&[0x12, 2, 0x18, 1]), "field 2.3: neither text nor a message");
        assert_eq!(error(&[0x12]), "field 2: the message ends within it");
        assert_eq!(error(&[0x80]), "the message ends within a field's number");
        assert_eq!(error(&[0x0b]), "field 1: a wire type that the API does not use");
    }

    #[test]
    fn lengths_beyond_all_bounds_are_refused() {
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(texts(&huge).unwrap_err().to_string(), "field 1: the message ends within it");
        let endless = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(texts(&endless).unwrap_err().to_string(), "field 1: the message ends within it");
    }

    #[test]
    fn negative_numbers_are_ten_bytes() {
        let minus_one = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let mut found = None;
        each(&minus_one, |field| {
            found = Some(field.int()?);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, Some(-1));
    }
}
