use std::{collections::BTreeMap, process::Command};

use crate::{
    kernel::KernelError,
    traced::{RuleId, rules_of_listing},
};

/// The texts of all rules in the calling thread's network namespace, as `nft` writes them. What sets and maps hold is not
/// read.
///
/// # Errors
/// [`KernelError::Failed`] if nft cannot be run, or cannot read what another version wrote.
pub fn rules() -> Result<BTreeMap<RuleId, String>, KernelError> {
    let failed = |reason: String| KernelError::Failed { attempt: "listing the rules with nft".to_owned(), reason };
    let output = Command::new("nft").args(["--handle", "--terse", "list", "ruleset"]).output();
    let output = output.map_err(|error| failed(format!("running `nft`: {error}")))?;
    match output.status.success() {
        true => Ok(rules_of_listing(&String::from_utf8_lossy(&output.stdout))),
        false => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(failed(format!("`nft` ended with {}: {words}", output.status)))
        }
    }
}
