//! Explains that a build without the feature `iceberg` cannot publish.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::Value;

use crate::cli::iceberg::Tables;
use crate::cli::signals::Signals;
use crate::dataset::layout::Dataset;
use crate::store::Network;

/// The program was built without the feature `iceberg`.
#[derive(Debug, thiserror::Error)]
#[error("this build cannot publish Iceberg tables: it was compiled without the feature iceberg")]
pub(in crate::cli) struct NotBuilt;

/// The result of a publication, which this build cannot produce.
pub(in crate::cli) struct Outcome(Infallible);

impl Outcome {
    pub(in crate::cli) fn json(&self) -> Value {
        match self.0 {}
    }

    pub(in crate::cli) fn lines(&self, _dry_run: bool) -> Vec<String> {
        match self.0 {}
    }

    pub(in crate::cli) fn failures(&self) -> Vec<String> {
        match self.0 {}
    }

    pub(in crate::cli) fn exit_code(&self) -> u8 {
        match self.0 {}
    }
}

/// Fails, because this build cannot publish.
pub(in crate::cli) fn check(_tables: &Tables, _network: &Network) -> anyhow::Result<()> {
    Err(NotBuilt.into())
}

/// Fails, because this build cannot publish.
pub(in crate::cli) fn check_compaction(
    _tables: &Tables,
    _network: &Network,
    _revert: bool,
) -> anyhow::Result<BTreeMap<String, String>> {
    Err(NotBuilt.into())
}

/// Fails, because this build cannot publish.
pub(in crate::cli) fn publish(
    _tables: &Tables,
    _dataset: &Dataset,
    _network: &Network,
    _signals: &Signals,
) -> anyhow::Result<Outcome> {
    Err(NotBuilt.into())
}

/// Returns whether a signal interrupted a publication.
pub(in crate::cli) fn is_interruption(_error: &anyhow::Error) -> bool {
    false
}
