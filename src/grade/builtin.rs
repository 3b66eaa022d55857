//! The looks that come with the program.

/// Name and text of every built-in look.
pub const LOOKS: [(&str, &str); 6] = [
    ("clean", include_str!("../../looks/clean.toml")),
    ("warm-film", include_str!("../../looks/warm-film.toml")),
    ("cool-steel", include_str!("../../looks/cool-steel.toml")),
    ("teal-amber", include_str!("../../looks/teal-amber.toml")),
    ("faded-pastel", include_str!("../../looks/faded-pastel.toml")),
    ("silver-print", include_str!("../../looks/silver-print.toml")),
];
