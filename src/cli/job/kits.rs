//! What kits and matches ask of a run: several files of a source, one transform for a group, proofs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Maker;
use crate::batch::PROOF;
use crate::batch::plan::{Planned, Request, plan};
use crate::brand::Brand;
use crate::brand::kit::GroupBy;
use crate::cli::groups::{Before, Groups};
use crate::cli::{Globals, progress, say};
use crate::codec;
use crate::error::Error;
use crate::grade::lut::Lut;
use crate::grade::matching::LUT_SIZE;
use crate::grade::{Grading, Look};
use crate::lane::Lut3d;
use crate::pipeline;
use crate::recipe::Template;

impl Maker<'_> {
    /// One item per source and export of the kit, those of a source beside each other.
    pub(super) fn exports(
        &self,
        brand: &Brand,
        request: &Request,
        size: &dyn Fn(&Path) -> crate::Result<(usize, usize)>,
    ) -> crate::Result<Planned> {
        let kit = brand.kit();
        let named = kit.exports.iter().any(|e| !e.name.is_empty());
        let mut plans = Vec::new();
        for (export, settings) in kit.exports.iter().zip(&self.variants) {
            let naming = export.naming.as_ref().map(|n| {
                n.parse::<Template>().map_err(|e| Error::usage(kit.file.display(), format!("export {}: `naming`: {e}", export.name), ""))
            });
            let size = |source: &Path| {
                let (w, h) = size(source)?;
                settings.finish.as_ref().map_or(Ok((w, h)), |f| f.size(w, h))
            };
            // A part of a job takes all exports of a source.
            let request = Request {
                format: export.format.or(request.format),
                name: naming.transpose()?.or_else(|| request.name.clone()),
                shard: None,
                ..request.clone()
            };
            plans.push(plan(&request, &size)?);
        }
        let Some(first) = plans.first() else { return Err(Error::Internal("a kit without exports".into())) };
        if named && first.root != request.output {
            let what = format!("{} is a file name, and {} makes a folder of each export", request.output.display(), kit.file.display());
            return Err(Error::usage("-o", what, "a folder"));
        }
        let mut whole = Planned {
            root: first.root.clone(),
            others: first.others,
            notes: first.notes.clone(),
            shard: request.shard,
            ..Planned::default()
        };
        for i in 0..first.items.len() {
            if request.shard.is_some_and(|s| !s.takes(&first.items[i].output)) {
                continue;
            }
            for (e, planned) in plans.iter().enumerate() {
                let mut item = planned.items[i].clone();
                item.job = whole.items.len() + 1;
                item.variant = e + 1;
                if named {
                    item.output = Path::new(&kit.exports[e].name).join(item.output);
                    item.preset = Some(kit.exports[e].name.clone());
                }
                whole.items.push(item);
            }
        }
        Ok(whole)
    }

    /// Works out the transforms of groups and gives every item the settings of its own.
    ///
    /// # Errors
    /// Parameters of an operation that do not fit together.
    pub(super) fn group(&mut self, planned: &mut Planned, globals: &Globals) -> crate::Result<Groups> {
        let by = self.recipe.look.group_by;
        let matching = self.settings.matching.as_ref();
        let brand = self.brand.as_deref().filter(|b| b.colours() && b.kit().group_by != GroupBy::Picture);
        if (matching.is_none() || by == GroupBy::Picture) && brand.is_none() || planned.items.is_empty() {
            return Ok(Groups::default());
        }
        if globals.verbosity >= 0 {
            let sources: BTreeSet<&PathBuf> = planned.items.iter().map(|i| &i.source).collect();
            say(format_args!("Looking at {}.", progress::files(sources.len())));
        }
        let before = Before { matching, by, grading: self.settings.grading.as_ref() };
        let groups = Groups::of(&planned.items, &planned.root, &self.limits, &before, brand)?;
        for item in &mut planned.items {
            let (look, brand) = (groups.look.get(&item.source), groups.brand.get(&item.source));
            if look.is_none() && brand.is_none() {
                continue;
            }
            let mut settings = item.variant.checked_sub(1).map_or(&self.settings, |v| &self.variants[v]).clone();
            if let Some(grading) = look {
                (settings.matching, settings.grading) = (None, grading.clone());
            }
            if let (Some(finish), Some(grade)) = (&mut settings.finish, brand) {
                finish.grade = Some(Arc::clone(grade));
            }
            let known = self.variants.iter().position(|v| *v == settings);
            item.variant = 1 + known.unwrap_or_else(|| {
                self.variants.push(settings);
                self.variants.len() - 1
            });
        }
        Ok(groups)
    }

    /// What a hot folder does otherwise: it never has all pictures of a group.
    pub fn alone(&self) -> Option<&'static str> {
        let brand = self.brand.as_ref().is_some_and(|b| b.colours() && b.kit().group_by != GroupBy::Picture);
        let grouped = brand || (self.settings.matching.is_some() && self.recipe.look.group_by != GroupBy::Picture);
        grouped.then_some("pictures are graded one by one as they come: groups are for folders that are complete")
    }

    /// What is done to the colours of all items, as a LUT of 65 points; of a match alone with its own points, which loses
    /// nothing. Grey pictures among coloured ones, which get a part of it, do not count.
    ///
    /// # Errors
    /// [`Error::Usage`] if that is not one function of colour.
    pub(super) fn cube(&self, planned: &Planned, groups: &Groups) -> crate::Result<String> {
        let wrong = |what: String, hint: &str| Err(Error::usage("--export-cube", what, hint));
        let mut found: Option<Vec<Grading>> = None;
        let mut source = None;
        let coloured = planned.items.iter().any(|i| !groups.toned.contains(&i.source));
        for item in planned.items.iter().filter(|i| !coloured || !groups.toned.contains(&i.source)) {
            let settings = item.variant.checked_sub(1).map_or(&self.settings, |v| &self.variants[v]);
            let own = settings.matching.is_some() || settings.finish.as_ref().is_some_and(|f| f.grade.is_none() && f.brand().colours());
            if own && source.is_some_and(|s| s != &item.source) {
                return wrong("each picture has a transform of its own".into(), "one picture, --sequence, or --group-by folder");
            }
            source = Some(&item.source);
            let gradings = if own {
                let bytes = std::fs::read(&item.source).map_err(|e| Error::io(&item.source, e))?;
                pipeline::gradings(&codec::decode(&item.source, &bytes, &self.limits)?, settings, &mut Vec::new())?
            } else {
                let brand = settings.finish.as_ref().and_then(|f| f.grade.as_ref()).and_then(|g| g.grading.clone());
                settings.grading.iter().cloned().chain(brand).collect()
            };
            if found.as_ref().is_some_and(|f| *f != gradings) {
                return wrong(
                    "there are several groups, each with a transform of its own".into(),
                    "the pictures of one group, or --sequence",
                );
            }
            found = Some(gradings);
        }
        let gradings = found.unwrap_or_default();
        let spatial: Vec<&str> = gradings.iter().flat_map(Grading::looks).flat_map(Look::spatial).collect();
        if !spatial.is_empty() {
            return wrong(format!("{} depend on more than the colour", spatial.join(", ")), "a look without them");
        }
        let graded = self.settings.grading.is_some() || self.brand.as_ref().is_some_and(|b| b.kit().look.is_some());
        let matched = self.settings.matching.is_some() || self.brand.as_ref().is_some_and(|b| b.colours());
        let points = if matched && !graded { LUT_SIZE } else { 65 };
        let cube = Lut3d::from_planes(points, |r, g, b| gradings.iter().for_each(|grading| grading.colours(r, g, b)))?;
        Lut::from_cube("lastmile", cube).to_cube()
    }
}

/// Keeps `n` sources spread over the plan, with all that is made of them, in a folder of their own.
pub(super) fn proof(planned: &mut Planned, n: usize) {
    let mut sources: Vec<PathBuf> = planned.items.iter().map(|i| i.source.clone()).collect();
    sources.sort();
    sources.dedup();
    let (n, all) = (n.min(sources.len()), sources.len());
    let chosen: BTreeSet<&PathBuf> = (0..n).map(|i| &sources[(2 * i + 1) * all / (2 * n)]).collect();
    planned.items.retain(|i| chosen.contains(&i.source));
    planned.items.iter_mut().enumerate().for_each(|(i, item)| item.job = i + 1);
    planned.root = planned.root.join(PROOF);
}
