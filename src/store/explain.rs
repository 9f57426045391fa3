//! What went wrong in a store, in a few words, and why as far as the user can change it.

use std::io::{self, ErrorKind};

use object_store::Error;

/// Codes of answers to requests whose credentials have expired.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// How `object_store` says that a bucket lies in another region.
const OTHER_REGION: &str = "incorrectly configured region";

/// Codes of answers to reads of archived objects in Azure.
const ARCHIVED: [&str; 2] = ["BlobArchived", "BlobBeingRehydrated"];

/// Says in a few words what `object_store` says in many.
pub(super) fn plainly(error: &Error) -> String {
    let text = error.to_string();
    let said = Said::read(&text);
    if let Some(region) = said.region {
        return format!("the bucket lies in the region {region}: set AWS_REGION={region}");
    }
    match said.code.unwrap_or_default() {
        "AccessDenied" => {
            return format!(
                "permission denied: {}",
                said.message.unwrap_or("the store says no more")
            );
        }
        "NoSuchBucket" | "ContainerNotFound" => return "there is no such bucket".to_owned(),
        "NoSuchUpload" | "InvalidBlockList" => return "the upload is gone".to_owned(),
        "InvalidObjectState" => {
            return "is archived (Glacier): restore it first, then convert it".to_owned();
        }
        code if ARCHIVED.contains(&code) => {
            return "is archived: restore it to an online access tier first, then convert it"
                .to_owned();
        }
        code if EXPIRED.contains(&code) => {
            return "the credentials have expired: renew them, then run the same command again"
                .to_owned();
        }
        code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") => {
            return format!(
                "the store does not accept the credentials ({code}): check AWS_PROFILE or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            );
        }
        _ => {}
    }
    match error {
        Error::NotFound { .. } => "is gone since it was listed".to_owned(),
        Error::Precondition { .. } => "was rewritten since it was listed".to_owned(),
        Error::PermissionDenied { .. } => match said.message {
            Some(message) => format!("permission denied: {message}"),
            None => "permission denied".to_owned(),
        },
        Error::Unauthenticated { source, .. } if said.code.is_none() => format!(
            "no credentials were found ({source}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or give the machine a role"
        ),
        _ if text.contains(OTHER_REGION) => {
            "the bucket lies in another region: set AWS_REGION".to_owned()
        }
        Error::NotSupported { source } => format!("cannot be read: {source}"),
        Error::Generic { source, .. }
            if source.downcast_ref::<io::Error>().is_some_and(is_out_of_files) =>
        {
            format!("too many open files: {MORE_FILES}")
        }
        other => match (said.code, said.message) {
            (Some(code), Some(message)) => format!("the store answered {code}: {message}"),
            _ => with_causes(other),
        },
    }
}

/// Remedy if the process or the system has no file descriptors left.
const MORE_FILES: &str = "raise the limit with `ulimit -n 1024`, then run the same command again";

/// Why a file system or a store gives no access, as far as the user can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The file system has no hard links, or the file is immutable.
    NoHardLinks,
    /// The user may not.
    Permission,
    /// The file system is read-only.
    ReadOnly,
    /// The dataset is on several file systems.
    OtherFileSystem,
    /// The device is full.
    Full,
    /// The quota is exhausted.
    Quota,
    /// The file is larger than the file system or the process may write.
    FileSize,
    /// A file stands where a directory is expected.
    NotADirectory,
    /// The process or the system has no file descriptors left.
    OpenFiles,
    /// The store denies access.
    Denied,
    /// No credentials were found.
    NoCredentials,
    /// The bucket lies in another region: this one, if the store names it.
    Region(Option<String>),
}

/// The reason why a file system or a store refuses to read or write a file.
#[derive(Debug)]
pub struct Refusal {
    /// The reason in words.
    pub why: String,
    /// The same, for programs.
    pub cause: Cause,
}

impl Refusal {
    /// Returns why a file system refuses an operation. `None` if the outcome of the operation is unknown.
    pub(super) fn of_disk(error: &io::Error) -> Option<Self> {
        let (why, cause) = match error.kind() {
            _ if is_unsupported(error) => ("operation not permitted", Cause::NoHardLinks),
            ErrorKind::PermissionDenied => ("permission denied", Cause::Permission),
            ErrorKind::ReadOnlyFilesystem => ("the file system is read-only", Cause::ReadOnly),
            ErrorKind::CrossesDevices => (
                "it is on a different file system than _alb2parquet/staging",
                Cause::OtherFileSystem,
            ),
            ErrorKind::StorageFull => ("no space left on the device", Cause::Full),
            ErrorKind::QuotaExceeded => ("disk quota exceeded", Cause::Quota),
            ErrorKind::FileTooLarge => ("file too large", Cause::FileSize),
            ErrorKind::NotADirectory => ("a part of its path is a file", Cause::NotADirectory),
            _ if is_out_of_files(error) => ("too many open files", Cause::OpenFiles),
            _ => return None,
        };
        Some(Self { why: why.to_owned(), cause })
    }

    /// Returns why a store refuses a request.
    pub(super) fn of_store(error: &Error) -> Option<Self> {
        let cause = if is_denied(error) { cause(error)? } else { return None };
        Some(Self { why: plainly(error), cause })
    }
}

/// Returns why a store gives no access, if the user can change it.
pub(super) fn cause(error: &Error) -> Option<Cause> {
    let text = error.to_string();
    let said = Said::read(&text);
    if said.region.is_some() || text.contains(OTHER_REGION) {
        return Some(Cause::Region(said.region.map(ToOwned::to_owned)));
    }
    if matches!(error, Error::Unauthenticated { .. }) && said.code.is_none() {
        return Some(Cause::NoCredentials);
    }
    is_denied(error).then_some(Cause::Denied)
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
}

/// Returns whether the process or the system has no file descriptors left (`EMFILE`, `ENFILE`).
#[cfg(unix)]
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_files(_: &io::Error) -> bool {
    false
}

/// Returns whether the file system does not have the operation. Some answer a hard link with `EPERM`, which is no lack of
/// permission (`EACCES`).
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    let is_not_permitted = error.raw_os_error() == Some(libc::EPERM);
    #[cfg(not(unix))]
    let is_not_permitted = false;
    is_not_permitted || error.kind() == ErrorKind::Unsupported
}

/// Describes an error of reading a local file.
pub(super) fn describe(error: &io::Error) -> String {
    if is_out_of_files(error) {
        format!("too many open files: {MORE_FILES}")
    } else {
        error.to_string()
    }
}

/// Tells whether an answer says that the credentials of its request have expired.
pub(super) fn is_expired(text: &str) -> bool {
    Said::read(text).code.is_some_and(|code| EXPIRED.contains(&code))
}

/// Tells whether the server said, each time a request was repeated, that it failed.
pub(super) fn is_of_server(error: &Error) -> bool {
    error.to_string().contains("status code: 5")
}

/// Returns whether Azure does not have the uncommitted blocks of an upload: they were committed, replaced or deleted.
/// Each of these happens once, because no other upload uses the same block IDs.
pub(super) fn is_without_parts(error: &Error) -> bool {
    Said::read(&error.to_string()).code == Some("InvalidBlockList")
}

/// Tells whether an object was asked for that must be restored first.
pub(super) fn is_archived(error: &Error) -> bool {
    let text = error.to_string();
    let code = Said::read(&text).code;
    code.is_some_and(|code| code == "InvalidObjectState" || ARCHIVED.contains(&code))
}

/// Returns an error with those of its causes that it does not tell itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// What the answer of a store says, if it is an error of S3's or Azure's kind.
#[derive(Debug, PartialEq, Eq)]
struct Said<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(text: &'a str) -> Self {
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
        };
        let code = element("Code");
        let elsewhere = ["AuthorizationHeaderMalformed", "PermanentRedirect"];
        let is_elsewhere = code.is_some_and(|code| elsewhere.contains(&code));
        let region = element("Region").filter(|_| is_elsewhere);
        Self { code, message: element("Message"), region }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    /// The C library has one message for each, and they have different remedies.
    #[cfg(unix)]
    #[test]
    fn a_file_system_without_hard_links_is_no_lack_of_permission() {
        for (code, why, cause) in [
            (libc::EPERM, "operation not permitted", Cause::NoHardLinks),
            (libc::EOPNOTSUPP, "operation not permitted", Cause::NoHardLinks),
            (libc::EACCES, "permission denied", Cause::Permission),
        ] {
            let refusal = Refusal::of_disk(&io::Error::from_raw_os_error(code)).unwrap();
            assert_eq!(refusal.why, why);
            assert_eq!(refusal.cause, cause);
        }
    }

    #[test]
    fn a_wrong_region_names_the_right_one() {
        let text = "400: <Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization \
                    header is malformed; the region 'us-east-1' is wrong; expecting \
                    'eu-west-1'</Message><Region>eu-west-1</Region></Error>";
        assert!(plainly(&generic(text)).contains("AWS_REGION=eu-west-1"));
        assert_eq!(cause(&generic(text)), Some(Cause::Region(Some("eu-west-1".to_owned()))));
    }

    #[test]
    fn codes_become_words() {
        let of = |code: &str| {
            plainly(&generic(&format!("<Code>{code}</Code><Message>said so</Message>")))
        };
        for code in ["NoSuchBucket", "ContainerNotFound"] {
            assert_eq!(of(code), "there is no such bucket");
        }
        for code in ["NoSuchUpload", "InvalidBlockList"] {
            assert_eq!(of(code), "the upload is gone");
        }
        for code in ["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"] {
            assert!(of(code).contains("restore it"), "{code}");
            assert!(is_archived(&generic(&format!("<Code>{code}</Code>"))), "{code}");
        }
        assert!(of("InvalidObjectState").contains("Glacier"));
        assert!(of("ExpiredToken").contains("expired"));
        assert!(of("SignatureDoesNotMatch").contains("credentials"));
        assert_eq!(of("SlowDown"), "the store answered SlowDown: said so");
        assert!(plainly(&generic("no xml")).contains("no xml"));
    }
}
