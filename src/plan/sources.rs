//! Opens sources by name.

use std::collections::HashMap;

use crate::logs::key::from_root;
use crate::plan::scope::{Scope, ScopeError};
use crate::store::{Network, Place, Source, StoreError};

/// A source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The name of the source is not a valid pattern.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The store of the source cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The relation between a source and a dataset that overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// The dataset is in the source.
    InSource,
    /// The source is in the dataset.
    InDataset,
}

/// Opens the sources in the order of `names`, and returns them with their scopes. If an object list replaces the
/// listing, the sources are not listed.
///
/// # Errors
///
/// Fails if a name is not a valid pattern, or a source cannot be opened.
pub(crate) fn open(
    names: &[String],
    is_listed: bool,
    network: &Network,
) -> Result<(Vec<Source>, Vec<Scope>), OpenError> {
    let open = if is_listed { Source::open } else { Source::open_unlisted };
    let (names, scopes): (Vec<_>, Vec<_>) = scopes(names)?.into_iter().unzip();
    let sources =
        names.iter().map(|name| open(name, network, from_root)).collect::<Result<_, _>>()?;
    Ok((sources, scopes))
}

/// Returns the directories and prefixes of the sources, with their scopes. A shell can expand a pattern to thousands of
/// names, so all names in the same directory become one source.
///
/// # Errors
///
/// Fails if a name is not a valid pattern.
pub(crate) fn scopes(names: &[String]) -> Result<Vec<(String, Scope)>, ScopeError> {
    let mut scopes: Vec<(String, Scope)> = Vec::new();
    let mut places = HashMap::new();
    for name in names {
        let (above, scope) = Scope::split(name)?;
        let Scope::Names(mut files) = scope else {
            scopes.push((above, scope));
            continue;
        };
        let place = *places.entry(above.clone()).or_insert(scopes.len());
        match scopes.get_mut(place) {
            Some((_, Scope::Names(known))) => known.append(&mut files),
            _ => scopes.push((above, Scope::Names(files))),
        }
    }
    Ok(scopes)
}

/// Returns how a source and a dataset overlap, if they do. With an overlap, each run would read the output of the
/// previous run.
///
/// # Errors
///
/// Fails if the name of the source is not valid.
pub(crate) fn overlap(source: &str, out: &Place) -> Result<Option<Overlap>, OpenError> {
    let place = match Scope::split(source)? {
        (above, Scope::Matching(_)) => Place::parse(&above)?,
        _ => Place::parse(source)?,
    };
    Ok(if place.holds(out) {
        Some(Overlap::InSource)
    } else if out.holds(&place) {
        Some(Overlap::InDataset)
    } else {
        None
    })
}
