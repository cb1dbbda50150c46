use crate::{
    compile::ServicePlan,
    kernel::NetlinkDataPlane,
    model::Settings,
    observed::{Programmed, Seen},
    tables::Rows,
};

/// Compares our tables with what this version would write: the program for these settings, the Service's rows for this
/// plan, and `node` for the rows that belong to the node.
pub fn programmed(
    _kernel: &mut NetlinkDataPlane,
    _plan: Option<&ServicePlan<'_>>,
    _node: &Rows,
    _settings: &Settings,
) -> Seen<Programmed> {
    Err("nobody looked".to_owned())
}
