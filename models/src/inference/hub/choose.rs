//! Which files of a repository make a model: one GGUF file, or a folder of safetensors and what belongs to them.

use std::path::Path;

use super::listing::{Listing, RemoteFile};
use super::reference::is_gguf;

/// Choices that a message lists.
const MOST_LISTED: usize = 24;
/// The one file of small models.
const WHOLE: &str = "model.safetensors";
/// Names the files of large models.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// Files beside the weights, fetched before them, so that a folder with weights lacks none that it should have.
const BESIDE: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "tokenizer.json",
];

/// What to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chosen<'a> {
    /// All in one.
    Gguf(&'a RemoteFile),
    /// The hub's own layout.
    Folder {
        /// Side files.
        beside: Vec<&'a RemoteFile>,
        /// The weights, or the index that names their files.
        weights: &'a RemoteFile,
    },
}

/// Chooses by the path, or the end of the name, that the user gave; without one, the safetensors, else the only GGUF file.
pub(super) fn choose<'a>(listing: &'a Listing, wanted: Option<&str>) -> Result<Chosen<'a>, String> {
    let ggufs: Vec<&RemoteFile> = listing.files.iter().filter(|file| is_gguf(&file.path)).collect();
    let Some(wanted) = wanted else {
        let weights = listing.get(INDEX).or_else(|| listing.get(WHOLE));
        if let (Some(weights), Some(_)) = (weights, listing.get("config.json")) {
            let beside = BESIDE.iter().filter_map(|path| listing.get(path)).collect();
            return Ok(Chosen::Folder { beside, weights });
        }
        return match ggufs.as_slice() {
            [] => Err(format!(
                "the repository has neither a GGUF file nor config.json with {WHOLE} or {INDEX}; it has {}",
                names(&listing.files.iter().collect::<Vec<_>>())
            )),
            [one] => whole(one),
            several => Err(format!(
                "the repository has {} GGUF files; name one after a colon: {}",
                several.len(),
                names(several)
            )),
        };
    };
    if let Some(file) = listing.get(wanted) {
        if !is_gguf(wanted) {
            return Err(format!("`{wanted}` is not a GGUF file; for safetensors name no file"));
        }
        return whole(file);
    }
    let fits: Vec<&RemoteFile> = ggufs.iter().copied().filter(|file| ends_in(&file.path, wanted)).collect();
    match fits.as_slice() {
        [one] => whole(one),
        [] if ggufs.is_empty() => Err(format!("no file `{wanted}`, and no GGUF file at all")),
        [] => Err(format!("no file `{wanted}`; its GGUF files: {}", names(&ggufs))),
        several => Err(format!("`{wanted}` may be one of {}", names(several))),
    }
}

fn whole(file: &RemoteFile) -> Result<Chosen<'_>, String> {
    let stem = stem(&file.path);
    let part = stem.rsplit_once("-of-").is_some_and(|(head, count)| {
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(count) && head.rsplit('-').next().is_some_and(digits)
    });
    if part {
        return Err(format!(
            "`{}` is one of several parts, which are not read; merge them with `llama-gguf-split --merge` and name the file",
            file.path
        ));
    }
    Ok(Chosen::Gguf(file))
}

fn stem(path: &str) -> &str {
    Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(path)
}

/// Whether a file's name ends in a quantisation's name, as `Q4_K_M`, in any case.
fn ends_in(path: &str, tag: &str) -> bool {
    let (stem, tag) = (stem(path).to_ascii_lowercase(), tag.to_ascii_lowercase());
    stem.strip_suffix(&tag).is_some_and(|head| head.is_empty() || head.ends_with(['-', '.', '_']))
}

fn names(files: &[&RemoteFile]) -> String {
    let mut text: Vec<&str> = files.iter().take(MOST_LISTED).map(|file| file.path.as_str()).collect();
    let more = format!("and {} more", files.len().saturating_sub(MOST_LISTED));
    if files.len() > MOST_LISTED {
        text.push(&more);
    }
    if text.is_empty() { "nothing".to_owned() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let file =
            |path: &&str| RemoteFile { path: (*path).to_owned(), bytes: None, sha256: None, blob: None };
        Listing { commit: String::new(), files: paths.iter().map(file).collect() }
    }

    #[test]
    fn the_only_candidate_is_taken_and_several_are_listed() {
        let several = listing(&["README.md", "m.Q4_1.gguf", "m.Q4_K_M.gguf", "m-bf16.gguf", "mmproj.gguf"]);
        let error = choose(&several, None).unwrap_err();
        assert!(error.contains("4 GGUF files") && error.contains("m.Q4_K_M.gguf"), "{error}");
        for (wanted, path) in [
            ("q4_k_m", "m.Q4_K_M.gguf"),
            ("Q4_1", "m.Q4_1.gguf"),
            ("BF16", "m-bf16.gguf"),
            ("m.Q4_1.gguf", "m.Q4_1.gguf"),
        ] {
            assert_eq!(choose(&several, Some(wanted)), Ok(Chosen::Gguf(several.get(path).unwrap())));
        }
        assert!(choose(&several, Some("Q8_0")).unwrap_err().contains("m.Q4_1.gguf"));
        assert!(choose(&several, Some("README.md")).unwrap_err().contains("not a GGUF"));
        let one = listing(&["a/one.gguf"]);
        assert_eq!(choose(&one, None), Ok(Chosen::Gguf(one.get("a/one.gguf").unwrap())));
        let none = choose(&listing(&["pytorch_model.bin"]), None).unwrap_err();
        assert!(none.contains("pytorch_model.bin"), "{none}");
        let part = listing(&["m-00001-of-00003.gguf"]);
        assert!(choose(&part, None).unwrap_err().contains("llama-gguf-split"));
    }

    #[test]
    fn safetensors_bring_what_belongs_to_them() {
        let both = listing(&["x.gguf", "tokenizer.json", "config.json", "extra.bin", WHOLE, INDEX]);
        let Ok(Chosen::Folder { beside, weights }) = choose(&both, None) else { panic!("no folder") };
        let beside: Vec<&str> = beside.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((beside, weights.path.as_str()), (vec!["config.json", "tokenizer.json"], INDEX));
        // Without a configuration the tensors alone are no model.
        let bare = listing(&["x.gguf", WHOLE]);
        assert_eq!(choose(&bare, None), Ok(Chosen::Gguf(bare.get("x.gguf").unwrap())));
    }
}
