use super::*;

fn parse(text: &str) -> Result<Recipe> {
    Recipe::parse(Path::new("art/a.recipe.toml"), text)
}

fn refused(text: &str, words: &[&str]) {
    let e = parse(text).unwrap_err();
    assert_eq!(e.exit(), crate::Exit::Usage);
    for word in words {
        assert!(e.to_string().contains(word), "`{word}` is not in: {e}");
    }
}

#[test]
fn a_recipe_is_read() {
    let text = "about = \"all of it\"\n[upscale]\nmodel = \"nets/x.onnx\"\nprint = \"24x36in@300\"\nfit = \"cover\"\nfaithful = 1\n\
        colour_lock = false\n[output]\nformat = \"tiff\"\ndepth = 16\ndither = false\nname = \"{stem}_big\"\n[run]\ndevice = \"cuda:1\"\n\
        precision = \"fp16\"\ntile = 256\ntile_mode = \"blend\"\nmax_pixels = \"250M\"\n[price]\ncurrency = \"EUR\"\nper_file = 0.05\nper_mp = 1e-2\n";
    let r = parse(text).unwrap();
    assert_eq!(r.upscale.model.as_deref(), Some(Path::new("art").join("nets/x.onnx").to_str().unwrap()), "paths count from the recipe");
    assert_eq!(r.upscale.size, Size::Print { width_in: 24.0, height_in: 36.0, dpi: 300.0 });
    assert_eq!((r.upscale.fit, r.upscale.faithful, r.upscale.colour_lock), (Fit::Cover, 1.0, false));
    assert_eq!((r.output.format, r.output.bits, r.output.dither), (Some(Format::Tiff), 16, false));
    assert_eq!((r.run.device, r.run.precision, r.run.tile), (Device::Cuda(1), Precision::Fp16, Tile::Px(256)));
    assert_eq!((r.run.tile_mode, r.run.max_pixels), (Tiles::Blend, 250_000_000));
    assert_eq!(r.price.total(100, 800.0), Some(13.0));
    assert_eq!(r.about, "all of it");
    assert_eq!(Recipe { base: PathBuf::new(), ..parse("").unwrap() }, Recipe::default());
    assert_eq!(Price::default().total(3, 5.0), None);
}

#[test]
fn mistakes_have_line_key_expectation_and_the_nearest_name() {
    refused("[upscale]\n\nscal = 4\n", &["art/a.recipe.toml:3: upscale.scal: unknown key", "try: `scale`"]);
    refused("[upscale]\nlong-edge = 4\n", &[":2: upscale.long-edge: unknown key", "`long_edge`"]);
    refused("[upscal]\nscale = 4\n", &[":1: upscal: unknown key", "`upscale`"]);
    refused("[upscale]\nquality = 4\n", &[":2: upscale.quality: unknown key", "it below [output]"]);
    refused("scale = 4\n", &[":1: scale: unknown key", "it below [upscale]"]);
    refused("[upscale]\nscale = \"big\"\n", &[":2: upscale.scale: expected a factor as a number", "found the text \"big\""]);
    refused("[upscale]\ncolour_lock = \"on\"\n", &["expected true or false, found the text \"on\""]);
    refused("[upscale]\nfaithful = 2\n", &["expected a number from 0 to 1, found the whole number 2"]);
    refused("[output]\nquality = 92.5\n", &["expected a whole number from 1 to 100, found the number 92.5"]);
    refused("[output]\nformat = \"jpg\"\n", &["expected one of \"keep\", \"png\", \"jpeg\"", "found the text \"jpg\"; perhaps \"jpeg\""]);
    refused("[output]\ndepth = 12\n", &["expected one of 8, 16, \"keep\", found the whole number 12"]);
    refused("[output]\nname = \"{size}\"\n", &[":2: output.name", "`{size}` is not known"]);
    refused("[run]\ndevice = \"gpu\"\n", &[":2: run.device: `gpu` is not a device; there are auto, cpu"]);
    refused("upscale = 3\n", &[":1: upscale: expected a section, found the whole number 3"]);
    refused("[upscale\nscale = 4\n", &["art/a.recipe.toml:1"]);
    refused("[upscale]\nscale = 4\nscale = 2\n", &[":3", "duplicate"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    refused(
        "[upscale]\nscal = 4\n[output]\nquality = 0\nformat = 3\n",
        &["3 mistakes", "line 2: upscale.scal: unknown key (try `scale`)", "line 4: output.quality: expected", "line 5: output.format"],
    );
}

#[test]
fn impossible_combinations_name_their_line() {
    refused("[upscale]\nscale = 4\nprint = \"24x36in@300\"\n", &[":3: upscale.print: a second size; art/a.recipe.toml:2: upscale.scale"]);
    refused("[upscale]\nscale = 4\nfit = \"cover\"\n", &[":3: upscale.fit: there is no box", "size = \"3840x2160\""]);
    refused("[upscale]\nmodel = \"none\"\n", &[":2: upscale.model: `none` has no factor"]);
    refused("[upscale]\ndenoise = 0.5\n", &[":2: upscale.denoise: the built-in networks", "realesr-general-x4v3"]);
    refused("[upscale]\nmodel = \"none\"\nscale = 2\nfaithful = 0.5\n", &[":4: upscale.faithful: without a network"]);
    refused("[output]\nformat = \"png\"\nquality = 80\n", &[":3: output.quality: 80 means nothing for PNG"]);
    refused("[output]\nlossless = true\nquality = 80\n", &[":3: output.quality: a lossless file"]);
    refused("[output]\nformat = \"png\"\nlossless = true\n", &[":3: output.lossless"]);
    refused("[output]\nformat = \"jpeg\"\ndepth = 16\n", &[":3: output.depth: 16 bits", "JPEG"]);
}

#[test]
fn every_stage_has_its_section() {
    let text = "[inspect]\nwhen = \"always\"\ntier = \"hero\"\nfail_on = \"reject\"\nrepair = \"auto\"\n[kit]\nfile = \"acme.brand.toml\"\n\
        [look]\nmatch = [\"a.png\", \"b.png\"]\ngroup_by = \"sequence\"\n";
    let r = parse(text).unwrap();
    assert_eq!(r.inspect, Inspect { when: When::Always, tier: Tier::Hero, fail_on: Some(Verdict::Reject), repair: Some(Repair::Auto) });
    assert_eq!(r.kit, Some(Path::new("art").join("acme.brand.toml")));
    assert_eq!(r.look.references, ["a.png", "b.png"].map(|f| Path::new("art").join(f)));
    assert_eq!(r.look.group_by, GroupBy::Sequence);
    assert_eq!(parse("[look]\nmatch = \"a.png\"\n").unwrap().look.references.len(), 1);
    refused("[look]\nmatch = [1]\n", &[":2: look.match: expected texts in quotes", "found a list"]);
    refused("kit = \"acme.brand.toml\"\n", &[":1: kit: expected a section", "[kit]"]);
    refused("[inspect]\nteir = \"hero\"\n", &[":2: inspect.teir: unknown key", "`tier`"]);
    refused("[look]\ngroup_by = \"generater\"\n", &["perhaps \"generator\""]);
    refused("[look]\ngroup_by = \"folder\"\n", &[":2: look.group_by: there is nothing to match"]);
}

#[test]
fn looks_are_applied_in_one_order_whatever_the_order_in_the_file() {
    let r = parse("[look]\nlook = \"house.toml\"\nstrength = 0.5\ncdl = \"a.ccc#shot 1\"\nlut = \"b.cube\"\n").unwrap();
    let beside = |f: &str| Path::new("art").join(f).to_string_lossy().into_owned();
    let want = [Source::Cdl(beside("a.ccc#shot 1")), Source::Lut(beside("b.cube")), Source::Look(beside("house.toml"))];
    assert_eq!((&r.look.sources[..], r.look.strength), (&want[..], 0.5));
    assert_eq!(parse("[look]\nlook = \"clean\"\n").unwrap().look.sources, [Source::Look("clean".into())]);
    refused("[look]\nstrength = 2\n", &[":2: look.strength: expected a number from 0 to 1"]);
}

#[test]
fn flags_take_over() {
    let mut r = parse("[upscale]\nprint = \"24x36in@300\"\nfit = \"cover\"\n").unwrap();
    r.upscale.size = Size::LongEdge(3840);
    r.flag("upscale.long_edge", "--long-edge");
    let e = r.check().unwrap_err().to_string();
    assert!(e.contains("art/a.recipe.toml:3: upscale.fit: there is no box to fill"), "{e}");
    r.upscale.fit = Fit::Exact;
    r.flag("upscale.fit", "--fit");
    assert!(r.check().unwrap_err().to_string().starts_with("--fit: there is no box to fill\n  try: --size"));
    assert_eq!((r.subject("upscale.print"), r.subject("upscale.long_edge")), ("upscale.print".into(), "--long-edge".into()));
}

#[test]
fn built_in_recipes_and_names() {
    for (name, _) in BUILT_IN {
        assert!(!Recipe::open(name).unwrap().about.is_empty(), "{name}");
    }
    let e = Recipe::open("posters").unwrap_err().to_string();
    assert!(e.contains("no recipe of that name") && e.contains("`poster`"), "{e}");
    assert!(Recipe::open("no/such.recipe.toml").unwrap_err().to_string().contains("no such recipe"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.recipe.toml");
    std::fs::write(&path, b"\xEF\xBB\xBFabout = \"with a mark\"").unwrap();
    assert_eq!(Recipe::open(path.to_str().unwrap()).unwrap().about, "with a mark");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(Recipe::open(path.to_str().unwrap()).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn keys_are_told_apart_and_their_examples_hold() {
    for (i, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..i].iter().all(|k| k.path() != key.path()), "{}", key.path());
        assert!(key.section.is_empty() || SECTIONS.iter().any(|s| s.0 == key.section));
        let section = if key.section.is_empty() { String::new() } else { format!("[{}]\n", key.section) };
        let beside = match key.name {
            "fit" => "size = \"100x100\"\n",
            "group_by" => "match = \"a.png\"\n",
            "denoise" => "model = \"realesr-general-x4v3\"\n",
            _ => "",
        };
        let text = format!("{section}{beside}{} = {}\n", key.name, key.example);
        parse(&text).unwrap_or_else(|e| panic!("{text}{e}"));
        assert!(blank().contains(&format!("# {} = {}", key.name, key.example)));
    }
    assert!(SIZES.iter().all(|s| KEYS.iter().any(|k| k.path() == *s)));
}

#[test]
fn a_blank_recipe_changes_nothing() {
    let blank = parse(&blank()).unwrap();
    assert_eq!(Recipe { base: PathBuf::new(), ..blank }, Recipe::default());
}

#[test]
fn the_schema_has_every_key_and_no_others() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    for key in &KEYS {
        let place = if key.section.is_empty() { &schema["properties"] } else { &schema["properties"][key.section]["properties"] };
        assert_eq!(place[key.name]["description"], key.about);
        assert!(!place[key.name]["examples"][0].is_null(), "{}", key.path());
    }
    for (section, _) in SECTIONS {
        assert_eq!(schema["properties"][section]["additionalProperties"], false);
    }
    assert_eq!(schema["properties"]["output"]["properties"]["depth"]["enum"], serde_json::json!(["8", "16", "keep", 8, 16]));
    assert_eq!(schema["properties"]["upscale"]["not"]["anyOf"].as_array().unwrap().len(), 10);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_recipe_makes_it_panic(lines in proptest::collection::vec("(\\[(upscale|inspect|look|kit|output|run|price|x)\\])|((scale|size|model|quality|name|tile|fit|match|tier|file|about)( = |=)(1|-1|1e9|nan|\"\"|\"x\"|\"1x1\"|true|\\[\\]|\\{\\}|2020-01-01))", 0..12)) {
        let _ = parse(&lines.join("\n"));
    }
}
