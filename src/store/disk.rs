//! A dataset in a local directory.
//!
//! A file is complete and durable before it becomes visible. The staged file and its directory entry are synced first.
//! Then the file is renamed, or hard-linked if it must not replace another file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::file_key::{FileKey, FileName};
use crate::store::target::{
    Access, Completed, Created, Leftover, Stage, Staged, StagedFile, Stored, Target, TargetError,
};

/// A local directory that contains a dataset.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// Directory for staged files, relative to the root.
    staging: String,
    /// Name prefix of temporary files, unique to this process.
    own: String,
    count: AtomicU64,
}

struct StagedOnDisk {
    file: File,
    path: PathBuf,
    name: FileName,
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> TargetError + '_ {
    at(path, Access::Read)
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> TargetError + '_ {
    at(path, Access::Write)
}

fn at(path: &Path, access: Access) -> impl FnOnce(io::Error) -> TargetError + '_ {
    move |source| TargetError::of_disk(path.display().to_string(), access, source)
}

/// Converts `NotFound` to `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Disk {
    /// Returns a target for a directory, which need not exist. Staged files are stored in `staging`, relative to the
    /// directory. The names of temporary files begin with `own`.
    pub fn new(root: PathBuf, staging: &str, own: &str) -> Self {
        let (staging, own) = (staging.to_owned(), own.to_owned());
        Self { root, staging, own, count: AtomicU64::new(0) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn staging(&self) -> PathBuf {
        self.root.join(&self.staging)
    }

    fn link_new(&self, key: &str, bytes: &[u8], durable: bool) -> Result<Created, TargetError> {
        let path = self.path(key);
        let directory = path.parent().expect("keys are below the root");
        create_dir_synced(directory)?;
        if path.exists() {
            if durable {
                // The caller relies on the existing file, so it must be durable, too.
                sync_dir(directory)?;
            }
            return Ok(Created::Before);
        }
        let staging = self.staging();
        create_dir_synced(&staging)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let temporary = Temporary(staging.join(format!("{}-{number}.tmp", self.own)));
        let write = || {
            let mut file = File::create_new(&temporary.0)?;
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        };
        write().map_err(writing(&temporary.0))?;
        // Unlike a rename, a link never replaces a file that another run has just created.
        let created = match fs::hard_link(&temporary.0, &path) {
            Ok(()) => Created::Now,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Created::Before,
            Err(error) => return Err(writing(&path)(error)),
        };
        if durable {
            sync_dir(directory)?;
        }
        Ok(created)
    }
}

/// A temporary file that is removed on drop.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // If the file cannot be removed, it stays in the staging directory, where readers ignore it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Target for Disk {
    fn name(&self, key: &str) -> String {
        self.path(key).display().to_string()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let path = self.path(key);
        found(fs::read(&path)).map_err(reading(&path))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<bytes::Bytes, TargetError> {
        let path = self.path(key);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes.into())
        };
        read().map_err(reading(&path))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, TargetError> {
        let path = self.path(key);
        Ok(found(fs::metadata(&path)).map_err(reading(&path))?.map(|metadata| metadata.len()))
    }

    fn list(&self, directory: &str) -> Result<Vec<Stored>, TargetError> {
        let mut files = Vec::new();
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            let path = self.path(&directory);
            let Some(entries) = found(fs::read_dir(&path)).map_err(reading(&path))? else {
                continue;
            };
            for entry in entries {
                let entry = entry.map_err(reading(&path))?;
                let key = format!("{directory}/{}", entry.file_name().to_string_lossy());
                if entry.file_type().map_err(reading(&path))?.is_dir() {
                    directories.push(key);
                } else if let Some(metadata) = found(entry.metadata()).map_err(reading(&path))? {
                    files.push(Stored { key, size: metadata.len() });
                }
            }
        }
        Ok(files)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError> {
        self.link_new(key, bytes, true)
    }

    fn create_non_durable(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError> {
        self.link_new(key, bytes, false)
    }

    fn sync(&self, key: &str) -> Result<(), TargetError> {
        sync_dir(self.path(key).parent().expect("keys are below the root"))
    }

    fn delete(&self, key: &str) -> Result<(), TargetError> {
        let path = self.path(key);
        if found(fs::remove_file(&path)).map_err(writing(&path))?.is_some() {
            sync_dir(path.parent().expect("keys are below the root"))?;
        }
        Ok(())
    }

    fn stage(&self, key: &FileKey) -> Result<Box<dyn Stage>, TargetError> {
        let staging = self.staging();
        create_dir_synced(&staging)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}-{}", self.own, key.split().1);
        let name = FileName::parse(name).expect("a run and a key have valid names");
        let path = staging.join(&*name);
        let file = File::create_new(&path).map_err(writing(&path))?;
        Ok(Box::new(StagedOnDisk { file, path, name }))
    }

    fn complete(&self, file: &StagedFile) -> Result<Completed, TargetError> {
        let path = self.path(&file.key);
        let directory = path.parent().expect("keys are below the root");
        let Staged::File(name) = &file.staged else { return Ok(Completed::Lost) };
        let staged = self.staging().join(&**name);
        // Only a complete regular file may be published: a symbolic link could expose any file on the machine.
        let metadata = found(fs::symlink_metadata(&staged)).map_err(writing(&staged))?;
        let check = |path: &Path, found| {
            let (name, expected) = (path.display().to_string(), file.size);
            let is_ours = found == expected;
            if is_ours { Ok(()) } else { Err(TargetError::Foreign { name, found, expected }) }
        };
        if let Some(metadata) = metadata {
            check(&staged, if metadata.is_file() { metadata.len() } else { 0 })?;
        }
        create_dir_synced(directory)?;
        let renamed = found(fs::rename(&staged, &path)).map_err(writing(&path))?;
        if renamed.is_none() {
            // Another run renamed the staged file, or the file was removed.
            match self.size(&file.key)? {
                None => return Ok(Completed::Lost),
                Some(size) => check(&path, size)?,
            }
        }
        sync_dir(directory)?;
        Ok(Completed::Visible)
    }

    fn abort(&self, staged: &Staged) -> Result<(), TargetError> {
        let Staged::File(name) = staged else { return Ok(()) };
        let path = self.staging().join(&**name);
        found(fs::remove_file(&path)).map_err(writing(&path))?;
        Ok(())
    }

    fn staged(&self) -> Result<Vec<Leftover>, TargetError> {
        let directory = self.staging();
        let Some(entries) = found(fs::read_dir(&directory)).map_err(reading(&directory))? else {
            return Ok(Vec::new());
        };
        let mut leftovers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(reading(&directory))?;
            let path = entry.path();
            let Some(metadata) = found(entry.metadata()).map_err(reading(&path))? else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            leftovers.push(Leftover {
                key: format!("{}/{name}", self.staging),
                staged: FileName::parse(name).ok().map(Staged::File),
                size: metadata.len(),
                modified: metadata.modified().map_err(reading(&path))?,
            });
        }
        Ok(leftovers)
    }

    fn forget(&self, _: &Staged) {}
}

impl Write for StagedOnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Stage for StagedOnDisk {
    fn staged(&self) -> Staged {
        Staged::File(self.name.clone())
    }

    fn seal(&mut self) -> Result<(), TargetError> {
        self.file.sync_all().map_err(writing(&self.path))?;
        sync_dir(self.path.parent().expect("staged files are in a directory"))
    }
}

/// Creates a directory and its parents, and makes each of them durable.
fn create_dir_synced(path: &Path) -> Result<(), TargetError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_synced(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(writing(path)(error));
            }
            _ => sync_dir(parent)?,
        }
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<(), TargetError> {
    let directory = File::open(path).map_err(reading(path))?;
    directory.sync_all().map_err(writing(path))
}
