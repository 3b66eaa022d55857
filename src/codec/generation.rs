//! How a picture was generated, as far as its metadata says: the formats of the well-known generators, read from whichever
//! place they used. Nothing here changes a picture; a text that is not understood is simply not described.
//!
//! Over 500 lines because every generator's notation is told beside a test of it.

use serde_json::{Map, Value};

use super::exif::entries::{self, MAKE, MODEL, Which};
use super::xmp::{DC, EXIF, Packet, XMP};
use super::{Metadata, c2pa};

/// What is known about the making of a picture; empty fields were not found.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Generation {
    /// Program or service, with its version where it is stated.
    pub generator: String,
    pub prompt: String,
    pub negative: String,
    pub model: String,
    pub model_hash: String,
    pub seed: String,
    pub steps: String,
    pub sampler: String,
    /// Guidance scale.
    pub cfg: String,
    /// Where it was found, e.g. "text `parameters`".
    pub found_in: String,
}

/// Reads the first description of the making that is understood: PNG text, EXIF, XMP, the comment, and last the C2PA claim.
pub fn generation(m: &Metadata) -> Option<Generation> {
    let text = |keyword: &str| m.text.iter().find(|t| t.keyword == keyword).map(|t| t.value.as_str());
    let place = |found: Option<Generation>, place: &str| found.map(|g| Generation { found_in: place.into(), ..g });
    let in_text = || {
        place(text("parameters").and_then(|t| of_parameters(t, text("fooocus_scheme"))), "text `parameters`")
            .or_else(|| place(text("prompt").and_then(of_comfy), "text `prompt`"))
            .or_else(|| place(text("invokeai_metadata").and_then(of_invoke), "text `invokeai_metadata`"))
            .or_else(|| place(text("sd-metadata").and_then(of_sd_metadata), "text `sd-metadata`"))
            .or_else(|| place(text("Dream").and_then(of_dream), "text `Dream`"))
            .or_else(|| place(of_novelai(&text), "text `Comment`"))
            .or_else(|| place(text("Description").and_then(of_midjourney), "text `Description`"))
            .or_else(|| workflow_only(text("workflow")))
    };
    let in_exif = || {
        let block = m.exif.as_deref()?;
        let main = |tag, head: &str| entries::text(block, Which::Main, tag).and_then(|s| s.strip_prefix(head).map(str::to_string));
        place(main(MODEL, "prompt:").as_deref().and_then(of_comfy), "EXIF Model")
            .or_else(|| place(entries::user_comment(block).as_deref().and_then(|t| of_parameters(t, None)), "EXIF UserComment"))
            .or_else(|| workflow_only(main(MAKE, "workflow:").as_deref()))
            .or_else(|| {
                let said = entries::text(block, Which::Main, entries::IMAGE_DESCRIPTION)?;
                place(of_parameters(&said, None).or_else(|| of_midjourney(&said)), "EXIF ImageDescription")
            })
    };
    let in_xmp = || {
        let p = Packet::scan(m.xmp.as_deref()?)?;
        place(p.value(EXIF, "UserComment").and_then(|t| of_parameters(&t, None)), "XMP exif:UserComment").or_else(|| {
            let said = p.value(DC, "description")?;
            place(of_parameters(&said, None).or_else(|| of_midjourney(&said)), "XMP dc:description")
        })
    };
    let in_comment = || place(std::str::from_utf8(m.comment.as_deref()?).ok().and_then(|t| of_parameters(t, None)), "comment");
    let claimed = || {
        let claim = c2pa::Claim::read(m.c2pa.as_deref()?)?;
        claim.source_types.iter().any(|t| t.ends_with("lgorithmicMedia")).then(|| Generation {
            generator: if claim.agents.is_empty() { claim.generator } else { claim.agents.join(", ") },
            found_in: "C2PA claim".into(),
            ..Generation::default()
        })
    };
    let tool = || {
        let name = Packet::scan(m.xmp.as_deref()?)?.value(XMP, "CreatorTool")?;
        let known = ["Midjourney", "DALL", "Firefly", "Imagen", "Gemini", "Flux", "Stable Diffusion", "Ideogram", "Recraft"];
        known.iter().any(|k| name.contains(k)).then(|| Generation {
            generator: name,
            found_in: "XMP xmp:CreatorTool".into(),
            ..Generation::default()
        })
    };
    in_text().or_else(in_exif).or_else(in_xmp).or_else(in_comment).or_else(claimed).or_else(tool)
}

/// Reads a text that stands alone, as `parameters`, UserComment and hidden texts do.
pub fn generation_in(text: &str) -> Option<Generation> {
    of_parameters(text, None)
}

/// The keywords of PNG texts in which generators write.
pub(super) const KEYWORDS: [&str; 16] = [
    "parameters",
    "prompt",
    "workflow",
    "negative_prompt",
    "extra",
    "Dream",
    "sd-metadata",
    "invokeai_metadata",
    "invokeai_workflow",
    "invokeai_graph",
    "fooocus_scheme",
    "generation_data",
    "generation_time",
    "sd_metadata",
    "sui_image_params",
    "postprocessing",
];

/// Whether a text is a generator's description of a picture.
pub(super) fn is_parameters(text: &str) -> bool {
    of_parameters(text, None).is_some()
}

/// Whether a text is a ComfyUI graph, as prompt or as workflow.
pub(super) fn is_graph(text: &str) -> bool {
    workflow_only(Some(text)).is_some() || of_comfy(text).is_some()
}

/// Whether a text, wherever it stands, is what a generator wrote about a picture: parameters, a graph, JSON with a prompt in
/// it, or one of these behind `key:`, as ComfyUI writes them into EXIF.
pub(super) fn is_generators(text: &str) -> bool {
    let told = |t: &str| json(t).is_some_and(|v| v.as_object().is_some_and(|o| o.keys().any(|k| is_prompt_key(k))));
    let alone = |t: &str| is_parameters(t) || is_graph(t) || told(t);
    let behind = || {
        let (key, rest) = text.split_once(':').filter(|(k, r)| k.len() <= 64 && r.trim_start().starts_with('{'))?;
        Some(is_prompt_key(key) || folded(key) == "extra" || alone(rest))
    };
    let lines = || text.lines().flat_map(|l| l.split('\r')).any(|l| l.trim_start().starts_with("Negative prompt:"));
    alone(text) || behind().unwrap_or(false) || lines() || text.contains("Job ID:")
}

/// A key in small letters, without what only parts its words.
fn folded(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Whether something of this name holds what a generator was told.
pub(super) fn is_prompt_key(key: &str) -> bool {
    let key = folded(key);
    key.contains("prompt") || key.contains("workflow")
}

/// Whether a PNG text of this keyword is a generator's.
pub(super) fn is_keyword(keyword: &str) -> bool {
    let key = folded(keyword);
    is_prompt_key(keyword) || KEYWORDS.iter().any(|k| folded(k) == key)
}

/// Whether a PNG text of this keyword, beside one with a prompt, is a setting.
pub(super) fn is_setting(keyword: &str) -> bool {
    const SETTINGS: [&str; 24] = [
        "seed",
        "steps",
        "numinferencesteps",
        "sampler",
        "samplername",
        "scheduler",
        "cfg",
        "cfgscale",
        "guidancescale",
        "scale",
        "strength",
        "model",
        "modelhash",
        "clipskip",
        "denoise",
        "denoisingstrength",
        "width",
        "height",
        "hypernetwork",
        "upscaler",
        "usefacecorrection",
        "useupscale",
        "refiner",
        "embeddings",
    ];
    let key = folded(keyword);
    SETTINGS.contains(&key.as_str()) || ["diffusion", "lora", "vae"].iter().any(|word| key.contains(word))
}

/// Everything in a text that may be what a generator was told: prompts as they are understood, and every longer text in its
/// JSON, also in JSON inside of that.
pub(super) fn told(text: &str, keyword: &str) -> (Vec<String>, Vec<String>) {
    let (mut prompts, mut others) = (Vec::new(), Vec::new());
    let behind = text.split_once(':').map(|(_, rest)| rest).filter(|r| r.trim_start().starts_with('{'));
    for text in std::iter::once(text).chain(behind) {
        let found = [of_parameters(text, None), of_midjourney(text), if keyword == "Dream" { of_dream(text) } else { None }];
        for g in found.into_iter().flatten() {
            prompts.extend([g.prompt, g.negative]);
        }
        if let Some(v) = json(text) {
            strings(&v, &mut others, NESTED);
        }
    }
    if is_prompt_key(keyword) && json(text).is_none() {
        prompts.push(text.to_string());
    }
    (prompts, others)
}

/// How deep JSON in texts of JSON is followed.
const NESTED: usize = 4;

/// Every text in a JSON value.
pub(super) fn strings(v: &Value, to: &mut Vec<String>, depth: usize) {
    match v {
        Value::String(s) => match json(s).filter(|_| depth > 0) {
            Some(inner) => strings(&inner, to, depth - 1),
            None => to.push(s.clone()),
        },
        Value::Array(all) => all.iter().for_each(|v| strings(v, to, depth)),
        Value::Object(o) => o.values().for_each(|v| strings(v, to, depth)),
        _ => {}
    }
}

/// All texts of a JSON object; none if it is not one.
pub(super) fn texts_of_json(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(v) = json(text) {
        strings(&v, &mut all, NESTED);
    }
    all
}

/// Whether PNG texts of general keywords (`Comment`, `Description`, `Source`, ...) are NovelAI's or Midjourney's.
pub(super) fn in_general_texts(m: &Metadata) -> bool {
    let text = |keyword: &str| m.text.iter().find(|t| t.keyword == keyword).map(|t| t.value.as_str());
    of_novelai(&text).is_some() || text("Description").and_then(of_midjourney).is_some()
}

/// A text in one of the formats that stand in `parameters` or UserComment: A1111's lines, or the JSON of SwarmUI, Fooocus,
/// NovelAI, Draw Things.
pub(super) fn of_parameters(text: &str, scheme: Option<&str>) -> Option<Generation> {
    if let Some(Value::Object(o)) = json(text) {
        return of_swarm(&o)
            .or_else(|| of_fooocus(&o))
            .or_else(|| of_drawthings(&o))
            .or_else(|| of_novelai_comment(&o, None))
            .or_else(|| wrapped_novelai(&o))
            .or_else(|| of_comfy(text));
    }
    of_lines(text, scheme)
}

/// JSON as Python writes it, where NaN is a number.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&text.replace(": NaN", ": null")).ok())
}

/// A scalar as text; empty for anything else.
fn plain(v: Option<&Value>) -> String {
    match v {
        Some(Value::String(s)) => s.trim().to_string(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

fn first(o: &Map<String, Value>, keys: &[&str]) -> String {
    keys.iter().map(|k| plain(o.get(*k))).find(|s| !s.is_empty()).unwrap_or_default()
}

/// A1111's text: the prompt, `Negative prompt: ...`, and a last line of `Key: value` pairs that begins with `Steps:`.
fn of_lines(text: &str, scheme: Option<&str>) -> Option<Generation> {
    // Line ends of every kind: what passed through a form or an old Macintosh has others.
    let text = &text.replace("\r\n", "\n").replace('\r', "\n");
    let counts = |at: &usize| text[at + "Steps:".len()..].trim_start_matches(' ').starts_with(|c: char| c.is_ascii_digit());
    let starts = text.match_indices("Steps:").map(|(i, _)| i).filter(|&i| i == 0 || text[..i].ends_with('\n'));
    let at = starts.filter(counts).last()?;
    let line = text[at + "Steps:".len()..].lines().next().unwrap_or("").trim_start();
    let (said, settings) = (text[..at].trim_end(), pairs(&format!("Steps: {line}")));
    let get = |key: &str| settings.iter().find(|p| p.0 == key).map_or_else(String::new, |p| p.1.clone());
    let (prompt, negative) = match said.split_once("\nNegative prompt:") {
        Some((p, n)) => (p, n),
        None => said.strip_prefix("Negative prompt:").map_or((said, ""), |n| ("", n)),
    };
    let version = get("Version");
    let generator = match version.as_str() {
        "" if scheme.is_some() => "Fooocus".into(),
        "" => "A1111-style (Stable Diffusion web UI)".into(),
        v if v.starts_with("Fooocus") || v == "ComfyUI" || v.starts_with("neo") => v.to_string(),
        v if v.starts_with('f') => format!("Stable Diffusion WebUI Forge {v}"),
        v => format!("AUTOMATIC1111 {v}"),
    };
    Some(Generation {
        generator,
        prompt: prompt.trim().into(),
        negative: negative.trim().into(),
        model: get("Model"),
        model_hash: get("Model hash"),
        seed: get("Seed"),
        steps: get("Steps"),
        sampler: [get("Sampler"), get("Schedule type")].iter().filter(|s| !s.is_empty()).cloned().collect::<Vec<_>>().join(" "),
        cfg: if get("CFG scale").is_empty() { get("Guidance Scale") } else { get("CFG scale") },
        found_in: String::new(),
    })
}

/// `Key: value, Key: "quoted, value", ...`.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while let Some((key, after)) = rest.split_once(": ") {
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.char_indices().find_map(|(i, c)| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes.then_some(i)
            });
            let end = end.unwrap_or(quoted.len());
            (quoted[..end].replace("\\\"", "\""), quoted.get(end + 1..).unwrap_or(""))
        } else {
            // A comma ends a value if another key follows it, else it belongs to the value.
            let end = after.match_indices(", ").map(|(i, _)| i).find(|&i| {
                let key = after[i + 2..].split(", ").next().unwrap_or("");
                key.contains(": ") || key.ends_with(':')
            });
            match end {
                Some(i) => (after[..i].to_string(), &after[i..]),
                None => (after.trim_end_matches(',').to_string(), ""),
            }
        };
        found.push((key.trim().to_string(), value.trim().to_string()));
        rest = next.trim_start_matches([',', ' ']);
    }
    found
}

fn of_swarm(o: &Map<String, Value>) -> Option<Generation> {
    let p = o.get("sui_image_params")?.as_object()?;
    let version = plain(p.get("swarm_version"));
    Some(Generation {
        generator: format!("SwarmUI {version}").trim().into(),
        prompt: plain(p.get("prompt")),
        negative: first(p, &["negativeprompt", "negative_prompt"]),
        model: plain(p.get("model")),
        seed: plain(p.get("seed")),
        steps: plain(p.get("steps")),
        sampler: plain(p.get("sampler")),
        cfg: first(p, &["cfgscale", "cfg_scale"]),
        ..Generation::default()
    })
}

fn of_fooocus(o: &Map<String, Value>) -> Option<Generation> {
    let version = first(o, &["version", "Version"]);
    let keys = o.contains_key("base_model") && o.contains_key("prompt");
    if !keys && !version.starts_with("Fooocus") {
        return None;
    }
    Some(Generation {
        generator: if version.is_empty() { "Fooocus".into() } else { version },
        prompt: first(o, &["prompt", "Prompt"]),
        negative: first(o, &["negative_prompt", "Negative Prompt"]),
        model: first(o, &["base_model", "Base Model"]),
        model_hash: plain(o.get("base_model_hash")),
        seed: first(o, &["seed", "Seed"]),
        steps: plain(o.get("steps")),
        sampler: [plain(o.get("sampler")), plain(o.get("scheduler"))].join(" ").trim().into(),
        cfg: first(o, &["guidance_scale", "Guidance Scale"]),
        ..Generation::default()
    })
}

fn of_drawthings(o: &Map<String, Value>) -> Option<Generation> {
    (o.contains_key("c") && o.contains_key("model") && o.contains_key("seed")).then(|| Generation {
        generator: "Draw Things".into(),
        prompt: plain(o.get("c")),
        negative: plain(o.get("uc")),
        model: plain(o.get("model")),
        seed: plain(o.get("seed")),
        steps: plain(o.get("steps")),
        sampler: plain(o.get("sampler")),
        cfg: plain(o.get("scale")),
        ..Generation::default()
    })
}

fn of_novelai<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Option<Generation> {
    if text("Software") != Some("NovelAI") {
        return None;
    }
    let comment = json(text("Comment").unwrap_or("{}"))?;
    let mut g = of_novelai_comment(comment.as_object()?, text("Description")).unwrap_or_default();
    g.generator = "NovelAI".into();
    if g.prompt.is_empty() {
        g.prompt = text("Description").unwrap_or("").trim().into();
    }
    // `Stable Diffusion 1D44365E`: the name and the hash.
    if let Some((name, hash)) = text("Source").and_then(|s| s.rsplit_once(' ')) {
        (g.model, g.model_hash) = (name.into(), hash.into());
    }
    Some(g)
}

fn of_novelai_comment(o: &Map<String, Value>, prompt: Option<&str>) -> Option<Generation> {
    (o.contains_key("uc") && o.contains_key("scale") && o.contains_key("sampler")).then(|| Generation {
        generator: "NovelAI".into(),
        prompt: prompt.map_or_else(|| plain(o.get("prompt")), |p| p.trim().into()),
        negative: plain(o.get("uc")),
        seed: plain(o.get("seed")),
        steps: plain(o.get("steps")),
        sampler: plain(o.get("sampler")),
        cfg: plain(o.get("scale")),
        ..Generation::default()
    })
}

/// NovelAI's texts as one JSON object, as its stealth data and WebP files hold them.
fn wrapped_novelai(o: &Map<String, Value>) -> Option<Generation> {
    let text = |keyword: &str| o.get(keyword).and_then(Value::as_str);
    of_novelai(&text)
}

fn of_invoke(text: &str) -> Option<Generation> {
    let value = json(text)?;
    let o = value.as_object()?;
    let model = match o.get("model") {
        Some(Value::Object(m)) => first(m, &["name", "model_name", "key"]),
        other => plain(other),
    };
    Some(Generation {
        generator: format!("InvokeAI {}", first(o, &["app_version"])).trim().into(),
        prompt: plain(o.get("positive_prompt")),
        negative: plain(o.get("negative_prompt")),
        model,
        model_hash: o.get("model").and_then(|m| m.get("hash")).map_or_else(String::new, |v| plain(Some(v))),
        seed: plain(o.get("seed")),
        steps: plain(o.get("steps")),
        sampler: plain(o.get("scheduler")),
        cfg: plain(o.get("cfg_scale")),
        ..Generation::default()
    })
}

fn of_sd_metadata(text: &str) -> Option<Generation> {
    let value = json(text)?;
    let o = value.as_object()?;
    let image = o.get("image").and_then(Value::as_object)?;
    let prompt = match image.get("prompt") {
        Some(Value::Array(parts)) => parts.iter().map(|p| plain(p.get("prompt"))).collect::<Vec<_>>().join(", "),
        other => plain(other),
    };
    let (prompt, negative) = bracketed(&prompt);
    Some(Generation {
        generator: format!("InvokeAI {}", plain(o.get("app_version"))).trim().into(),
        prompt,
        negative,
        model: plain(o.get("model_weights")),
        model_hash: plain(o.get("model_hash")),
        seed: plain(image.get("seed")),
        steps: plain(image.get("steps")),
        sampler: plain(image.get("sampler")),
        cfg: plain(image.get("cfg_scale")),
        found_in: String::new(),
    })
}

/// `prompt [negative] more` as InvokeAI's command line took it.
fn bracketed(text: &str) -> (String, String) {
    let (mut prompt, mut negative) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((inside, next)) = after.split_once(']') else { break };
        prompt += before;
        negative.push(inside.trim());
        rest = next;
    }
    prompt += rest;
    (prompt.trim().into(), negative.join(", "))
}

/// `"prompt" -s 20 -S 123 -W 512 -H 512 -C 7.5 -A k_lms`.
fn of_dream(text: &str) -> Option<Generation> {
    let (said, flags) = match text.trim().strip_prefix('"') {
        Some(rest) => rest.rsplit_once('"')?,
        None => text.split_once(" -")?,
    };
    let words: Vec<&str> = flags.split_whitespace().collect();
    let flag = |name: &str| {
        words.iter().enumerate().find_map(|(i, w)| {
            let rest = w.trim_start_matches('-');
            let rest = if w.starts_with('-') || i == 0 { rest.strip_prefix(name)? } else { return None };
            if rest.is_empty() { words.get(i + 1).map(|v| v.to_string()) } else { Some(rest.to_string()) }
        })
    };
    let seed = flag("S")?;
    let (prompt, negative) = bracketed(said);
    Some(Generation {
        generator: "InvokeAI".into(),
        prompt,
        negative,
        seed,
        steps: flag("s").unwrap_or_default(),
        sampler: flag("A").unwrap_or_default(),
        cfg: flag("C").unwrap_or_default(),
        ..Generation::default()
    })
}

/// Midjourney's description: the prompt with its flags and the job.
fn of_midjourney(text: &str) -> Option<Generation> {
    let (said, _) = text.split_once("Job ID:")?;
    let flag = |name: &str| said.split(&format!("--{name} ")).nth(1).and_then(|s| s.split_whitespace().next()).unwrap_or("").to_string();
    let version = flag("v");
    Some(Generation {
        generator: "Midjourney".into(),
        prompt: said.split(" --").next().unwrap_or(said).trim().into(),
        negative: flag("no"),
        model: if version.is_empty() { String::new() } else { format!("v{version}") },
        seed: flag("seed"),
        ..Generation::default()
    })
}

fn workflow_only(text: Option<&str>) -> Option<Generation> {
    let value = json(text?)?;
    let generator = if value.get("nodes").is_some() { "ComfyUI" } else { return None };
    Some(Generation { generator: generator.into(), found_in: "`workflow`".into(), ..Generation::default() })
}

/// How far links between ComfyUI's nodes are followed.
const FOLLOW: usize = 32;

/// ComfyUI's graph: nodes by id, each with `class_type` and `inputs`, where an input is a value or `[node, output]`.
fn of_comfy(text: &str) -> Option<Generation> {
    let value = json(text)?;
    let nodes = value.as_object()?;
    let class = |n: &Value| n.get("class_type").and_then(Value::as_str).unwrap_or("").to_string();
    if !nodes.values().any(|n| n.get("class_type").is_some() && n.get("inputs").is_some()) {
        return None;
    }
    let g = Graph { nodes };
    // The last sampler that is fed with conditioning; refiners come after the base.
    let samplers = nodes.values().filter(|n| class(n).contains("Sampler") && n.pointer("/inputs/positive").is_some());
    let guided = nodes.values().filter(|n| class(n).starts_with("SamplerCustom") || n.pointer("/inputs/guider").is_some());
    let any = samplers.chain(guided).next();
    let mut out = Generation { generator: "ComfyUI".into(), ..Generation::default() };
    let Some(sampler) = any else { return Some(out) };
    let along = |keys: &[&str]| keys.iter().map(|k| g.value(sampler, k)).find(|s| !s.is_empty()).unwrap_or_default();
    out.prompt = along(&["positive/text", "guider/positive/text", "guider/conditioning/text"]);
    out.negative = along(&["negative/text", "guider/negative/text"]);
    out.seed = along(&["seed", "noise_seed", "noise/noise_seed", "noise/seed"]);
    out.steps = along(&["steps", "sigmas/steps"]);
    out.sampler = [along(&["sampler_name", "sampler/sampler_name"]), along(&["scheduler", "sigmas/scheduler"])].join(" ").trim().into();
    out.cfg = along(&["cfg", "guider/cfg"]);
    out.model = along(&["model/ckpt_name", "model/unet_name", "guider/model/unet_name", "guider/model/ckpt_name"]);
    Some(out)
}

struct Graph<'a> {
    nodes: &'a Map<String, Value>,
}

impl<'a> Graph<'a> {
    /// The value at the end of a path of inputs. The last name is searched for along all links that lead on.
    fn value(&self, node: &'a Value, path: &str) -> String {
        match path.split_once('/') {
            Some((input, rest)) => match self.linked(node, input) {
                Some(next) if rest.contains('/') => self.value(next, rest),
                Some(next) => self.search(next, rest, FOLLOW),
                None => String::new(),
            },
            None => match node.get("inputs").and_then(|i| i.get(path)) {
                Some(Value::Array(_)) => self.linked(node, path).map_or_else(String::new, |n| self.search(n, path, FOLLOW)),
                v => plain(v),
            },
        }
    }

    fn linked(&self, node: &'a Value, input: &str) -> Option<&'a Value> {
        let link = node.get("inputs")?.get(input)?.as_array()?;
        self.nodes.get(&plain(link.first()))
    }

    /// `name` in this node or the first node behind it that has it; texts may be called differently.
    fn search(&self, node: &'a Value, name: &str, depth: usize) -> String {
        let same: &[&str] = match name {
            "text" => &["text", "text_g", "t5xxl", "clip_l", "value", "string", "prompt", "text_positive", "wildcard_text"],
            "seed" | "noise_seed" => &["seed", "noise_seed", "value"],
            "ckpt_name" => &["ckpt_name"],
            _ => std::slice::from_ref(&name),
        };
        let Some(inputs) = node.get("inputs").and_then(Value::as_object).filter(|_| depth > 0) else { return String::new() };
        if let Some(found) = same.iter().map(|n| plain(inputs.get(*n))).find(|s| !s.is_empty()) {
            return found;
        }
        let mut links = inputs.iter().filter(|(_, v)| v.is_array());
        // Towards the same thing first, so that a model is not looked for behind a text.
        let prefer = |key: &str| same.contains(&key) || matches!(key, "model" | "conditioning" | "conditioning_1" | "positive" | "sigmas");
        let towards: Vec<&String> = links.clone().filter(|(k, _)| prefer(k)).map(|(k, _)| k).collect();
        let next = towards.into_iter().next().or_else(|| links.next().map(|(k, _)| k));
        next.and_then(|k| self.linked(node, k)).map_or_else(String::new, |n| self.search(n, name, depth - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Text;

    fn of(texts: &[(&str, &str)]) -> Option<Generation> {
        generation(&Metadata { text: texts.iter().map(|t| Text::new(t.0, t.1)).collect(), ..Metadata::default() })
    }

    #[test]
    fn a1111_lines_are_taken_apart() {
        let said = "a cat, (red:1.2)\non a mat\nNegative prompt: dog,\nugly\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, \
                    Seed: 123, Size: 512x768, Model hash: abc, Model: dream, v2, Lora hashes: \"x: 1, y: 2\", Version: v1.9.0";
        let g = of(&[("parameters", said)]).unwrap();
        assert_eq!((g.prompt.as_str(), g.negative.as_str()), ("a cat, (red:1.2)\non a mat", "dog,\nugly"));
        assert_eq!((g.seed.as_str(), g.steps.as_str(), g.cfg.as_str(), g.sampler.as_str()), ("123", "20", "7.5", "DPM++ 2M Karras"));
        assert_eq!((g.model.as_str(), g.model_hash.as_str(), g.generator.as_str()), ("dream, v2", "abc", "AUTOMATIC1111 v1.9.0"));
        let bare = of(&[("parameters", "Steps: 4, Seed: 1")]).unwrap();
        assert_eq!((bare.prompt.as_str(), bare.seed.as_str()), ("", "1"));
        assert_eq!(of(&[("parameters", "just some words")]), None);
    }

    #[test]
    fn comfy_graphs_are_followed() {
        let graph =
            r#"{"3":{"class_type":"KSampler","inputs":{"seed":["9",0],"steps":12,"cfg":4.5,"sampler_name":"euler","scheduler":"normal",
            "model":["10",0],"positive":["6",0],"negative":["7",0],"denoise":NaN}},
            "9":{"class_type":"Seed","inputs":{"seed":77}},
            "10":{"class_type":"LoraLoader","inputs":{"lora_name":"l","model":["4",0],"clip":["4",1]}},
            "4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"m.safetensors"}},
            "6":{"class_type":"ConditioningSetArea","inputs":{"conditioning":["8",0],"width":1}},
            "8":{"class_type":"CLIPTextEncode","inputs":{"text":["11",0],"clip":["10",1]}},
            "11":{"class_type":"PrimitiveString","inputs":{"value":"a cat"}},
            "7":{"class_type":"CLIPTextEncode","inputs":{"text":"dog","clip":["10",1]}}}"#
                .replace("\"denoise\":NaN", "\"denoise\": NaN");
        let g = of(&[("prompt", &graph)]).unwrap();
        assert_eq!((g.prompt.as_str(), g.negative.as_str(), g.seed.as_str()), ("a cat", "dog", "77"));
        assert_eq!(
            (g.model.as_str(), g.steps.as_str(), g.cfg.as_str(), g.sampler.as_str()),
            ("m.safetensors", "12", "4.5", "euler normal")
        );
        let endless = r#"{"1":{"class_type":"KSampler","inputs":{"positive":["1",0],"model":["1",0],"seed":["1",0]}}}"#;
        assert_eq!(of(&[("prompt", endless)]).unwrap().prompt, "");
        assert_eq!(of(&[("prompt", "{\"a\":1}")]), None);
    }

    #[test]
    fn other_generators_are_read() {
        let dream = of(&[("Dream", "\"a cat [dog] here\" -s 20 -S 123 -W 512 -H 512 -C 7.5 -A k_lms")]).unwrap();
        assert_eq!(
            (dream.prompt.as_str(), dream.negative.as_str(), dream.seed.as_str(), dream.cfg.as_str()),
            ("a cat  here", "dog", "123", "7.5")
        );
        let swarm = of(&[("parameters", r#"{"sui_image_params":{"prompt":"p","model":"m","seed":5,"swarm_version":"0.9"}}"#)]).unwrap();
        assert_eq!((swarm.generator.as_str(), swarm.seed.as_str()), ("SwarmUI 0.9", "5"));
        let invoke =
            of(&[("invokeai_metadata", r#"{"positive_prompt":"p","model":{"name":"m","hash":"h"},"seed":1,"app_version":"4.0"}"#)])
                .unwrap();
        assert_eq!((invoke.generator.as_str(), invoke.model.as_str(), invoke.model_hash.as_str()), ("InvokeAI 4.0", "m", "h"));
        let mj = of(&[("Description", "a cat --ar 3:2 --v 6.1 Job ID: 123")]).unwrap();
        assert_eq!((mj.prompt.as_str(), mj.model.as_str()), ("a cat", "v6.1"));
        let wrapped = r#"{"Software":"NovelAI","Description":"p","Source":"NAI 1A2B","Comment":"{\"uc\":\"n\",\"scale\":5,\"sampler\":\"k\",\"seed\":9}"}"#;
        let g = of_parameters(wrapped, None).unwrap();
        assert_eq!((g.prompt.as_str(), g.negative.as_str(), g.seed.as_str(), g.model_hash.as_str()), ("p", "n", "9", "1A2B"));
    }

    #[test]
    fn hostile_texts_end() {
        for text in [
            "Steps: ",
            "\nSteps: : : ,",
            "{",
            &"[".repeat(10_000),
            &format!("{{\"a\":{}", "[".repeat(100_000)),
            "\"-S",
            "Steps: 1, A: \"",
            "Job ID:",
        ] {
            for key in KEYWORDS.iter().chain(&["Description", "Comment"]) {
                of(&[(key, text), ("Software", "NovelAI")]);
            }
        }
    }
}
