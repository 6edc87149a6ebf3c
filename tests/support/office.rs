//! Workbooks opened and recalculated by `LibreOffice`.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// The cells of a sheet: amounts as the program stored them, unrounded.
pub(crate) type Rows = Vec<Vec<String>>;

/// Every sheet of every workbook, recalculated by `LibreOffice`.
pub(crate) fn recalculated(folder: &Path, books: &[(&str, Vec<u8>)]) -> BTreeMap<String, Rows> {
    let input = folder.join("books");
    let output = folder.join("csv");
    fs::create_dir_all(&input).unwrap();
    let mut command = Command::new("soffice");
    command
        .arg(format!("-env:UserInstallation=file://{}/profile", folder.display()))
        .args(["--headless", "--norestore", "--convert-to"])
        // All sheets, amounts as stored rather than as shown.
        .arg("csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1")
        .arg("--outdir")
        .arg(&output);
    for (name, bytes) in books {
        let path = input.join(format!("{name}.xlsx"));
        fs::write(&path, bytes).unwrap();
        command.arg(path);
    }
    let ran = command.output().expect(
        "LibreOffice recalculates the workbook: install it with `apt-get install --no-install-recommends libreoffice-calc`",
    );
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let read = |path: &Path| -> Rows {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).unwrap();
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let files = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}
