use std::ops::{Deref, DerefMut};

use super::{Lab, down};

/// A lab that is taken down when this value is dropped, also when a test panics.
#[derive(Debug)]
pub struct Guard(Lab);

impl Guard {
    pub(super) fn new(lab: Lab) -> Self {
        Self(lab)
    }
}

impl Deref for Guard {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.responders.clear();
        if let Err(error) = down(&self.0.spec.prefix) {
            tracing::error!(prefix = %self.0.spec.prefix, %error, "the lab could not be taken down");
        }
    }
}
