//! Any text as a recipe: it is read, or everything wrong with it is told. Seeds: recipes.
#![no_main]

use std::path::Path;

use lastmile::recipe::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Recipe::parse(Path::new("a.recipe.toml"), text) {
        Ok(recipe) => assert!(recipe.check().is_ok()),
        Err(e) => assert!(e.to_string().contains("a.recipe.toml")),
    }
});
