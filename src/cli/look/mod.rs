//! What `get` and `top` show: what this node's kernel holds, by frontend, beside what the objects want, where there are
//! any.

mod kernel;
mod objects;
mod selection;
mod side;
mod view;
mod watch;

pub use kernel::{Kernel, KernelSight, Needs};
pub use objects::Objects;
pub use selection::Selected;
pub use side::Side;
pub use view::{Counts, Seen, View};
pub use watch::{Pace, repeat};
