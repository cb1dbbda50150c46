//! What was seen on the node, judged.

use super::{Scene, client::Client, report::Report};
use crate::observed::Observed;

/// Adds what was seen to what follows from the objects.
pub(super) fn judge(_observed: &Observed, _client: &Client, _scene: &Scene, _report: &mut Report) {}
