//! Rules as programs of this world write them.
