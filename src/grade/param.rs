//! What an operation can be told: its parameters, each with a default, what is allowed, a unit and a sentence.
//!
//! `params!` makes the struct, reads it from TOML and describes it; the description is what `lastmile looks show` prints and what
//! error messages quote, so that the three can never disagree.

use toml::de::DeValue;

use crate::error::nearest;

/// One parameter as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub name: &'static str,
    /// A sentence.
    pub doc: &'static str,
    /// "stops", "degrees" and so on; empty for bare numbers and words.
    pub unit: &'static str,
    /// What is allowed, for example "-10 to 10".
    pub allowed: String,
    /// As it would be written in the file.
    pub default: String,
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Numbers from the first to the second.
    Range(f32, f32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Whatever the type takes.
    Any,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range(low, high) => write!(f, "{low} to {high}"),
            Self::OneOf(words) => f.write_str(&words.join(" | ")),
            Self::Any => Ok(()),
        }
    }
}

/// A type that parameters may have.
pub trait Value: Sized {
    /// Reads it; the error says what is wrong, without the place.
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String>;
    /// As written in TOML.
    fn show(&self) -> String;
    /// What is allowed, in words.
    fn allowed(rule: Rule) -> String {
        rule.to_string()
    }
}

fn number(value: &DeValue<'_>, rule: Rule) -> Result<f32, String> {
    let text = match value {
        DeValue::Integer(i) => i.as_str(),
        DeValue::Float(f) => f.as_str(),
        other => return Err(format!("is {}, not a number", kind(other))),
    };
    let v: f32 = text.replace('_', "").parse().map_err(|_| format!("is `{text}`, not a decimal number"))?;
    match rule {
        Rule::Range(low, high) if !(low..=high).contains(&v) => Err(format!("is {text}; allowed are {rule}")),
        _ if !v.is_finite() => Err(format!("is {text}, not a finite number")),
        _ => Ok(v),
    }
}

/// "a table", "a string" and so on.
pub fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Value for f32 {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        number(value, rule)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>, _: Rule) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("is {}, not true or false", kind(value)))
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn allowed(_: Rule) -> String {
        "true | false".into()
    }
}

/// Three numbers; one number stands for three equal ones.
impl Value for [f32; 3] {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        let Some(list) = value.as_array() else { return Ok([number(value, rule)?; 3]) };
        match list.iter().map(|v| number(v.get_ref(), rule)).collect::<Result<Vec<_>, _>>()?[..] {
            [r, g, b] => Ok([r, g, b]),
            ref other => Err(format!("has {} numbers, not three (red, green, blue) or one", other.len())),
        }
    }
    fn show(&self) -> String {
        format!("[{}, {}, {}]", self[0], self[1], self[2])
    }
    fn allowed(rule: Rule) -> String {
        format!("{rule}, one number or [red, green, blue]")
    }
}

/// Two numbers, the first at most the second; an empty list for none.
impl Value for Option<[f32; 2]> {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        let list = value.as_array().ok_or_else(|| format!("is {}, not [from, to]", kind(value)))?;
        match list.iter().map(|v| number(v.get_ref(), rule)).collect::<Result<Vec<_>, _>>()?[..] {
            [] => Ok(None),
            [from, to] if from <= to => Ok(Some([from, to])),
            [from, to] => Err(format!("runs down from {from} to {to}; the smaller number comes first")),
            ref other => Err(format!("has {} numbers, not [from, to]", other.len())),
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| "[]".into(), |[a, b]| format!("[{a}, {b}]"))
    }
    fn allowed(rule: Rule) -> String {
        format!("[from, to], each {rule}")
    }
}

/// A number that may be left out.
impl Value for Option<f32> {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        number(value, rule).map(Some)
    }
    fn show(&self) -> String {
        self.map_or_else(|| "none".into(), |v| v.to_string())
    }
}

/// Words and file names.
impl Value for String {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| format!("is {}, not a text in quotes", kind(value)))?;
        match rule {
            Rule::OneOf(words) if !words.contains(&text) => {
                let near = nearest(text, words.iter().copied()).map_or_else(String::new, |w| format!(" (did you mean `{w}`?)"));
                Err(format!("is \"{text}\"; allowed are {rule}{near}"))
            }
            _ => Ok(text.to_owned()),
        }
    }
    fn show(&self) -> String {
        toml::Value::from(self.as_str()).to_string()
    }
}

/// Points of a curve, `[[x, y], ...]`, x rising.
impl Value for Vec<[f32; 2]> {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        let list = value.as_array().ok_or_else(|| format!("is {}, not points like [[0, 0], [1, 1]]", kind(value)))?;
        let mut points: Self = Vec::new();
        for point in list.iter() {
            let pair = point.get_ref().as_array().filter(|p| p.len() == 2);
            let pair = pair.ok_or_else(|| "has a point that is not [x, y]".to_string())?;
            let point = [number(pair[0].get_ref(), rule)?, number(pair[1].get_ref(), rule)?];
            if let Some(last) = points.last().filter(|l| l[0] >= point[0]) {
                return Err(format!("has x = {} after x = {}; x must rise", point[0], last[0]));
            }
            points.push(point);
        }
        if points.len() == 1 { Err("has one point; two or more make a curve".into()) } else { Ok(points) }
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(|[x, y]| format!("[{x}, {y}]")).collect::<Vec<_>>().join(", "))
    }
    fn allowed(rule: Rule) -> String {
        format!("[[x, y], ...] with x rising, each {rule}")
    }
}

/// Makes the struct of an operation's parameters.
///
/// ```text
/// params! {
///     /// What it does.
///     pub struct Exposure = "exposure" {
///         /// Stops of light.
///         stops: f32 = 0.0, Rule::Range(-10.0, 10.0), "stops";
///     }
/// }
/// ```
macro_rules! params {
    ($(#[doc = $about:literal])+ pub struct $name:ident = $id:literal {
        $($(#[doc = $doc:literal])+ $field:ident : $type:ty = $default:expr, $rule:expr, $unit:literal;)*
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Its name in look files.
            pub const NAME: &'static str = $id;
            /// What it does, in a sentence or two.
            pub const ABOUT: &'static str = concat!($($about),+);

            /// What it can be told.
            pub fn params() -> Vec<$crate::grade::param::Param> {
                use $crate::grade::param::Value;
                let default = Self::default();
                vec![$($crate::grade::param::Param {
                    name: stringify!($field),
                    doc: concat!($($doc),+).trim_start(),
                    unit: $unit,
                    allowed: <$type>::allowed($rule),
                    default: default.$field.show(),
                },)*]
            }

            /// Sets one parameter; `None` if there is none of that name, else what is wrong with the value.
            pub fn set(&mut self, key: &str, value: &toml::de::DeValue<'_>) -> Option<Result<(), String>> {
                use $crate::grade::param::Value;
                match key {
                    $(stringify!($field) => Some(<$type>::read(value, $rule).map(|v| self.$field = v)),)*
                    _ => None,
                }
            }

            /// Every parameter that is not the default, as written in a look file.
            pub fn written(&self) -> Vec<(&'static str, String)> {
                use $crate::grade::param::Value;
                let default = Self::default();
                let mut all = Vec::new();
                $(if self.$field != default.$field { all.push((stringify!($field), self.$field.show())); })*
                all
            }
        }
    };
}
pub(crate) use params;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_if_it_is_near() {
        let words = ["exposure", "saturation", "lut"];
        assert_eq!(nearest("exposre", words), Some("exposure"));
        assert_eq!(nearest("Saturaton", words), Some("saturation"));
        assert_eq!(nearest("wobble", words), None);
    }
}
