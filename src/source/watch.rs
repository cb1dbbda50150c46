//! tmp
use std::path::PathBuf;
/// tmp
pub struct Watch;
impl Watch {
    /// tmp
    pub fn new(_paths: &[PathBuf]) -> anyhow::Result<Self> {
        Ok(Self)
    }
    /// tmp
    pub async fn changed(&mut self) {
        std::future::pending().await
    }
}
