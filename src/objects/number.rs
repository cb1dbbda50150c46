use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Reads a number where the API wants one: text is refused, even text made of digits (`port: "80"`), as the API server
/// does. `null` is absent.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|n| n.0))
}

/// [`number`] for fields where absent and 0 are the same.
pub(crate) fn number_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(number(deserializer)?.unwrap_or_default())
}

struct Number(i32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, not in quotes")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                i32::try_from(number)
                    .map(Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &"a number of at most 32 bits"))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                i32::try_from(number)
                    .map(Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &"a number of at most 32 bits"))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
                // 80.0 becomes 80 on its way from YAML to the API server.
                if number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) {
                    Ok(Number(number as i32))
                } else {
                    Err(E::invalid_type(de::Unexpected::Float(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
