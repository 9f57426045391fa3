//! What went wrong in a store, in a few words, and what mends it.

use std::io::{self, ErrorKind};

use object_store::Error;

/// Codes of answers to requests whose credentials have expired.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// Codes of answers to reads of archived objects in Azure.
const ARCHIVED: [&str; 2] = ["BlobArchived", "BlobBeingRehydrated"];

/// Says in a few words what `object_store` says in many.
pub(super) fn plainly(error: &Error) -> String {
    let text = error.to_string();
    let said = Said::read(&text);
    if let Some(region) = said.region {
        return format!(
            "the bucket lies in the region {region}: set AWS_REGION={region}, or say \
             --option region={region}"
        );
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
             AWS_SECRET_ACCESS_KEY, or give the machine a role; for a public bucket say \
             --option skip_signature=true"
        ),
        _ if text.contains("incorrectly configured region") => {
            "the bucket lies in another region: set AWS_REGION, or say --option region=REGION"
                .to_owned()
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

/// The reason why a file system or a store refuses to read or write a file, and the remedy.
#[derive(Debug)]
pub struct Refusal {
    /// The reason.
    pub why: String,
    /// How the user can correct it.
    pub remedy: &'static str,
}

impl Refusal {
    /// Returns why a file system refuses an operation. `None` if the outcome of the operation is unknown.
    pub(super) fn of_disk(error: &io::Error) -> Option<Self> {
        let (why, remedy) = match error.kind() {
            _ if is_unsupported(error) => (
                "operation not permitted",
                "use a file system with hard links for --out, and check that its files are not immutable",
            ),
            ErrorKind::PermissionDenied => (
                "permission denied",
                "change its permissions or those of its directory, or run as another user",
            ),
            ErrorKind::ReadOnlyFilesystem => {
                ("the file system is read-only", "mount it read-write, or use another --out")
            }
            ErrorKind::CrossesDevices => (
                "it is on a different file system than _alb2parquet/staging",
                "keep the whole dataset on one file system",
            ),
            ErrorKind::StorageFull => {
                ("no space left on the device", "free some space, then run the same command again")
            }
            ErrorKind::QuotaExceeded => (
                "disk quota exceeded",
                "free some space or raise the quota, then run the same command again",
            ),
            ErrorKind::FileTooLarge => (
                "file too large",
                "raise the limit of the file system or of `ulimit -f`, or lower --target-file-size",
            ),
            ErrorKind::NotADirectory => {
                ("a part of its path is a file", "move that file away, or use another --out")
            }
            _ if is_out_of_files(error) => ("too many open files", MORE_FILES),
            _ => return None,
        };
        Some(Self { why: why.to_owned(), remedy })
    }

    /// Returns why a store refuses a request.
    pub(super) fn of_store(error: &Error) -> Option<Self> {
        let is_denied =
            matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
        is_denied.then(|| Self {
            why: plainly(error),
            remedy: "check the credentials and their permissions; for S3, `alb2parquet policy convert` prints the \
                    required ones",
        })
    }
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
        for (code, why, remedy) in [
            (libc::EPERM, "operation not permitted", "hard links"),
            (libc::EOPNOTSUPP, "operation not permitted", "hard links"),
            (libc::EACCES, "permission denied", "change its permissions"),
        ] {
            let refusal = Refusal::of_disk(&io::Error::from_raw_os_error(code)).unwrap();
            assert_eq!(refusal.why, why);
            assert!(refusal.remedy.contains(remedy), "{}", refusal.remedy);
        }
    }

    #[test]
    fn a_wrong_region_names_the_right_one() {
        let text = "400: <Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization \
                    header is malformed; the region 'us-east-1' is wrong; expecting \
                    'eu-west-1'</Message><Region>eu-west-1</Region></Error>";
        assert!(plainly(&generic(text)).contains("AWS_REGION=eu-west-1"));
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
