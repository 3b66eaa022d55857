//! The looks that come with the program.

/// Name and text of every built-in look.
pub const LOOKS: [(&str, &str); 0] = [];
