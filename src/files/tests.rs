use std::io::Write;
use std::path::{Path, PathBuf};

use super::place::{Place, resolve};
use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The names that a folder holds.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn save(path: &Path, content: &str) -> crate::Result<()> {
    let mut new = NewFolder::create(path)?;
    new.write("a", content.as_bytes())?;
    new.finish()
}

#[track_caller]
fn refused_with(done: crate::Result<()>, parts: &[&str]) {
    let message = done.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    assert!(!message.contains("os error") && !message.contains('\n'), "{message}");
}

#[test]
fn files_are_replaced_whole_and_their_folders_made() {
    let folder = folder();
    let path = folder.path().join("a/b/c.json");
    write_whole(&path, b"one").unwrap();
    write_whole(&path, b"two").unwrap();
    let mut unfinished = NewFile::create(&path).unwrap();
    unfinished.write_all(b"three").unwrap();
    assert_eq!(names(path.parent().unwrap()), ["c.json", "c.json.polymix-partial"]);
    drop(unfinished);
    assert_eq!((text(&path).as_str(), names(path.parent().unwrap())), ("two", vec!["c.json".to_owned()]));
    // What a killed process left is longer than what is written.
    std::fs::write(folder.path().join("a/b/c.json.polymix-partial"), "a long rest of it").unwrap();
    write_whole(&path, b"four").unwrap();
    assert_eq!((text(&path).as_str(), names(path.parent().unwrap())), ("four", vec!["c.json".to_owned()]));
}

#[test]
fn a_file_has_one_writer() {
    let folder = folder();
    let path = folder.path().join("a");
    let first = NewFile::create(&path).unwrap();
    refused_with(write_whole(&path, b"second"), &["another process"]);
    clean(&path).unwrap();
    assert_eq!(names(folder.path()), ["a.polymix-partial"], "another writer's is not cleaned");
    first.finish().unwrap();
    write_whole(&path, b"second").unwrap();
    let first = NewFolder::create(&folder.path().join("b")).unwrap();
    refused_with(save(&folder.path().join("b"), "second"), &["another process"]);
    clean(&folder.path().join("b")).unwrap();
    first.finish().unwrap();
    save(&folder.path().join("b"), "second").unwrap();
    assert_eq!(names(folder.path()), ["a", "b"]);
}

#[test]
fn folders_are_replaced_whole() {
    let folder = folder();
    let path = folder.path().join("x/v1.2");
    save(&path, "one").unwrap();
    std::fs::write(path.join("other"), "goes with the old one").unwrap();
    std::fs::create_dir_all(folder.path().join("x/v1.2.polymix-partial/deep")).unwrap();
    save(&path, "two").unwrap();
    assert_eq!((text(&path.join("a")).as_str(), names(&path)), ("two", vec!["a".to_owned()]));
    drop(NewFolder::create(&path).unwrap());
    assert_eq!(names(path.parent().unwrap()), ["v1.2"]);
    remove_folder(&path).unwrap();
    remove_folder(&path).unwrap();
    remove_file(&path).unwrap();
    assert!(names(path.parent().unwrap()).is_empty());
}

#[test]
fn what_killed_processes_leave_is_mended() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let made = |name: &str, content: &str| {
        std::fs::create_dir_all(at(name)).unwrap();
        std::fs::write(at(name).join("a"), content).unwrap();
    };
    made("best.polymix-old", "old");
    made("best.polymix-partial", "new");
    assert_eq!(standing(&at("best")), at("best.polymix-old"));
    clean(&at("best")).unwrap();
    assert_eq!((names(folder.path()), text(&at("best/a")).as_str()), (vec!["best".to_owned()], "old"));
    made("best.polymix-old", "older");
    std::fs::write(at("file.polymix-partial"), "").unwrap();
    assert_eq!(standing(&at("best")), at("best"));
    clean(&at("best")).unwrap();
    clean(&at("file")).unwrap();
    assert_eq!((names(folder.path()), text(&at("best/a")).as_str()), (vec!["best".to_owned()], "old"));
}

#[test]
fn logs_grow() {
    let folder = folder();
    let path = folder.path().join("log");
    Log::open(&path).unwrap().append(b"a\n").unwrap();
    assert!(Log::create(&path).unwrap().is_none());
    Log::open(&path).unwrap().append(b"b\n").unwrap();
    assert_eq!(text(&path), "a\nb\n");
}

#[test]
fn the_remedy_is_that_of_the_reason() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), "years of work").unwrap();
    refused_with(
        write_whole(&at("file/a/b"), b""),
        &["file/a/b: cannot", "/file is no folder", "another place"],
    );
    refused_with(save(&at("file/a"), ""), &["/file is no folder"]);
    refused_with(save(&at("file"), ""), &["is a file; give the name of a folder"]);
    refused_with(make_folder(&at("file")), &["is a file"]);
    refused_with(write_whole(folder.path(), b""), &["is a folder; give the name of a file"]);
    refused_with(write_whole(&at(&"n".repeat(300)), b""), &["too long", "shorter name"]);
    refused_with(write_whole(Path::new("/"), b""), &["is a folder"]);
    refused_with(write_whole(Path::new(""), b""), &["names no file"]);
    refused_with(save(Path::new("/"), ""), &["cannot be replaced"]);
    refused_with(save(Path::new("."), ""), &["start it elsewhere"]);
    assert_eq!(text(&at("file")), "years of work");
    std::fs::create_dir(at("taken.polymix-partial")).unwrap();
    refused_with(write_whole(&at("taken"), b""), &["taken.polymix-partial: is in the way"]);
    assert_eq!(names(folder.path()), ["file", "taken.polymix-partial"]);
    for (kind, remedy) in [
        (std::io::ErrorKind::StorageFull, "free space"),
        (std::io::ErrorKind::PermissionDenied, "let this user write in"),
        (std::io::ErrorKind::ReadOnlyFilesystem, "for writing"),
        (std::io::ErrorKind::ResourceBusy, "mounted"),
        (std::io::ErrorKind::Other, "another place"),
    ] {
        refused_with(Err(refused(&at("a/b"), &kind.into())), &["a/b: cannot be written (", remedy]);
    }
}

#[cfg(unix)]
#[test]
fn links_stay_and_what_they_name_is_written() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("far/model")).unwrap();
    std::fs::write(at("far/file"), "old").unwrap();
    std::fs::set_permissions(at("far/file"), std::fs::Permissions::from_mode(0o640)).unwrap();
    for (target, link) in
        [("far/file", "a"), ("a", "b"), ("far/none", "c"), ("far/model", "d"), ("far/new", "e")]
    {
        symlink(target, at(link)).unwrap();
    }
    symlink("g", at("f")).unwrap();
    symlink("f", at("g")).unwrap();
    let links = |names: &[&str]| names.iter().all(|name| at(name).is_symlink());

    write_whole(&at("b"), b"new").unwrap();
    assert_eq!(text(&at("far/file")), "new");
    assert_eq!(std::fs::metadata(at("far/file")).unwrap().permissions().mode() & 0o777, 0o640);
    write_whole(&at("c"), b"new").unwrap();
    assert_eq!(text(&at("far/none")), "new");
    save(&at("d"), "new").unwrap();
    save(&at("e/"), "new").unwrap();
    make_folder(&at("e")).unwrap();
    assert_eq!((text(&at("far/model/a")), text(&at("far/new/a"))), ("new".into(), "new".into()));
    refused_with(write_whole(&at("f"), b""), &["circle"]);
    refused_with(save(&at("c"), ""), &["is a file"]);
    refused_with(write_whole(&at("d"), b""), &["is a folder"]);
    assert!(links(&["a", "b", "c", "d", "e", "f", "g"]));
    assert_eq!(names(&at("far")), ["file", "model", "new", "none"]);
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_written_through() {
    use std::os::unix::fs::FileTypeExt;
    let folder = folder();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    write_whole(&pipe, &[7; 100_000]).unwrap();
    assert_eq!(reader.join().unwrap(), [7; 100_000]);
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(names(folder.path()), ["pipe"]);
    refused_with(save(&pipe, ""), &["is a device or pipe"]);

    write_whole(Path::new("/dev/null"), b"text").unwrap();
    refused_with(save(Path::new("/dev/null"), ""), &["is a device or pipe"]);
    if Path::new("/dev/full").exists() {
        refused_with(write_whole(Path::new("/dev/full"), b"text"), &["/dev/full: cannot", "free space"]);
        assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    }
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused_with(write_whole(&socket, b""), &["is a socket"]);
}

/// What the shell opened with `>` is written, whatever its name.
#[cfg(target_os = "linux")]
#[test]
fn open_files_are_written_through() {
    use std::os::fd::AsRawFd;
    let folder = folder();
    let path = folder.path().join("open");
    let mut open = std::fs::File::create(&path).unwrap();
    open.write_all(b"before ").unwrap();
    let link = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    assert_eq!(resolve(&link).unwrap(), Place::Stream(link.clone()));
    write_whole(&link, b"after").unwrap();
    assert_eq!(text(&path), "before after");
}

#[test]
fn what_cannot_be_read_is_told_with_its_remedy() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), [0xff, 0xfe]).unwrap();
    for (name, parts) in [
        ("absent", ["cannot be read", "correct its name"]),
        ("gone/deep/file", ["there is no folder", "mount what holds it"]),
        ("file/deep", ["file is no folder", "correct the path"]),
        ("", ["it is a folder", "give a file"]),
    ] {
        refused_with(read(&at(name)).map(drop), &parts);
        refused_with(read_text(&at(name)).map(drop), &parts);
        refused_with(open(&at(name)).map(drop), &parts);
    }
    refused_with(read(&at("gone/deep/file")).map(drop), &["no folder", "gone)"]);
    refused_with(read_text(&at("file")).map(drop), &["UTF-8"]);
    refused_with(entries(&at("file")).map(drop), &["cannot be read", "correct the path"]);
    assert!(about(&at("file/deep")).unwrap().is_none() && about(&at("absent")).unwrap().is_none());
    assert!(is_file(&at("file")).unwrap() && !is_file(folder.path()).unwrap());
    // What root and this system do not meet.
    let of = |error: std::io::Error| unreadable(&at("file"), &error).to_string();
    use std::io::ErrorKind;
    for (kind, part) in [
        (ErrorKind::PermissionDenied, "let this user read it"),
        (ErrorKind::StaleNetworkFileHandle, "connect to the network's disk"),
        (ErrorKind::NotConnected, "connect to the network's disk"),
        (ErrorKind::UnexpectedEof, "fetch it again"),
        (ErrorKind::Other, "fetch it again"),
    ] {
        assert!(of(kind.into()).contains(part), "{}", of(kind.into()));
    }
    #[cfg(target_os = "linux")]
    for (number, part) in [
        (23, "ulimit -n"),
        (24, "ulimit -n"),
        (5, "check the disk"),
        (40, "mend its links"),
        (6, "give a file"),
    ] {
        let message = of(std::io::Error::from_raw_os_error(number));
        assert!(message.contains(part) && !message.contains("os error"), "{message}");
    }
}

#[test]
fn a_file_says_who_has_it() {
    let folder = folder();
    let path = folder.path().join("lock");
    std::fs::write(&path, "what a killed process left, longer than the next").unwrap();
    let Owner::Mine(mine) = Claim::take(&path, "1 here\n").unwrap() else { panic!("nobody has it") };
    assert_eq!(text(&path), "1 here\n");
    let Owner::Other(owner) = Claim::take(&path, "2 here\n").unwrap() else { panic!("it is had") };
    assert_eq!(owner, "1 here\n");
    drop(mine);
    assert!(names(folder.path()).is_empty());
}
