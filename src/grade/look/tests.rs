use super::*;
use crate::grade::program::Program;

fn refused(text: &str) -> String {
    Look::parse("my.toml", text, Path::new("")).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_said_with_line_key_and_nearest_name() {
    for (text, want) in [
        ("titel = \"x\"", "my.toml, line 1: `titel` is no key of a look\n  try: `title`"),
        ("[[op]]\ntype = \"exposre\"", "my.toml, line 2: `type`: there is no operation \"exposre\"\n  try: type = \"exposure\""),
        ("[[op]]\ntype = \"exposure\"\nstop = 1", "my.toml, line 3: `stop` is no key of \"exposure\"\n  try: `stops`"),
        ("[[op]]\ntype = \"exposure\"\nstops = 11", "my.toml, line 3: `stops` of \"exposure\" is 11; allowed are -10 to 10"),
        ("[[op]]\ntype = \"exposure\"\nstops = \"1\"", "my.toml, line 3: `stops` of \"exposure\" is a text, not a number"),
        ("[[op]]\ntype = \"exposure\"\nstops = nan", "my.toml, line 3: `stops` of \"exposure\" is nan; allowed are -10 to 10"),
        ("[[op]]\nstops = 1", "line 1: an operation without `type`"),
        ("[op]\ntype = \"exposure\"", "line 1: `op` is a table\n  try: [[op]] with two brackets"),
        ("[[op]]\ntype = \"curves\"\nrgb = [[0, 0], [0, 1]]", "line 3: `rgb` of \"curves\" has x = 0 after x = 0; x must rise"),
        ("[[op]]\ntype = \"cdl\"\nslope = [1, 2]", "line 3: `slope` of \"cdl\" has 2 numbers, not three"),
        ("[[op]]\ntype = \"cdl\"\nspace = \"liner\"", "is \"liner\"; allowed are encoded | linear (did you mean `linear`?)"),
        ("[[op]]\ntype = \"lut\"", "operation \"lut\": it needs `file`"),
        ("[[op]]\ntype = \"lut\"\nfile = \"none.cube\"", "none.cube: cannot be read: "),
        ("[[op]]\ntype = \"levels\"\nblack = 0.9\nwhite = 0.5", "line 1: operation \"levels\": `white` (0.5) must lie"),
        ("base = \"nothing at all\"", "line 1: `base`: look: \"nothing at all\" is neither built in nor a file"),
        ("a = ", "my.toml, line 1: "),
    ] {
        let said = refused(text);
        assert!(said.contains(want), "{text}\n--- said\n{said}\n--- not\n{want}");
    }
}

#[test]
fn a_look_builds_on_another_and_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |f: &str| folder.path().join(f);
    std::fs::write(at("base.toml"), "title = \"Base\"\n[[op]]\ntype = \"exposure\"\nid = \"light\"\nstops = 1\nopacity = 0.5\n[[op]]\ntype = \"saturation\"\namount = 1.2\n").unwrap();
    std::fs::write(
        at("child.toml"),
        "base = \"base.toml\"\n[[op]]\nid = \"light\"\nstops = 2\n[[op]]\ntype = \"contrast\"\namount = 1.1\n",
    )
    .unwrap();
    let look = Look::read(&at("child.toml")).unwrap();
    let names: Vec<&str> = look.steps.iter().map(|s| s.op.name()).collect();
    assert_eq!(names, ["exposure", "saturation", "contrast"]);
    assert_eq!((look.steps[0].op.written(), look.steps[0].place.opacity), (vec![("stops", "2".to_string())], 0.5));

    std::fs::write(at("a.toml"), "base = \"b.toml\"\n").unwrap();
    std::fs::write(at("b.toml"), "base = \"a.toml\"\n").unwrap();
    assert!(Look::read(&at("a.toml")).unwrap_err().to_string().contains("look for a circle"));
}

#[test]
fn a_look_written_out_reads_back() {
    let text = "title = \"A \\\"b\\\"\"\ndescription = \"c\"\n[[op]]\ntype = \"hsl\"\nblue = [10, 1.5, 0]\nhue = 20\n[[op]]\ntype = \"curves\"\nid = \"k\"\nrgb = [[0, 0], [1, 0.5]]\nluma_softness = 0.2\n";
    let look = Look::parse("x", text, Path::new("")).unwrap();
    let back = Look::parse("x", &look.to_string(), Path::new("")).unwrap();
    assert_eq!(look, back);
}

#[test]
fn every_built_in_look_reads_and_does_something() {
    for (name, _) in builtin::LOOKS {
        let look = Look::find(name).unwrap();
        assert!(look.title != name && look.description.ends_with('.'), "{name}");
        assert!(!Program::new(&[look], 1.0).unwrap().is_noop(), "{name}");
    }
}
