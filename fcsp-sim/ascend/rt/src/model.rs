//! Models: work that is recorded once and executed many times, by capturing a stream or by binding
//! one to a model that is being built.

use crate::abi::Out;
use crate::codes::{CAPTURE_UNMATCHED, MODEL_CONTEXT, Reply, STREAM_CAPTURED};
use crate::driver::{current, driver};
use crate::export::api;
use crate::stream::{Recording, Stream, named, target};
use fcsp_sim::graph::Work;
use fcsp_sim::strict::{Rule, is_on};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// A model.
#[derive(Debug)]
pub struct Model {
    /// Its context's number.
    pub context: u64,
    work: Mutex<Vec<Work>>,
    bound: Mutex<Vec<u64>>,
}

impl Model {
    fn new() -> Reply<Self> {
        Ok(Self {
            context: current()?.id,
            work: Mutex::default(),
            bound: Mutex::default(),
        })
    }

    fn add(&self, work: Vec<Work>) {
        self.work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(work);
    }
}

/// Returns the model of a handle, which must be of the current context: "model is not in current
/// ctx".
fn find(model: u64) -> Reply<Arc<Model>> {
    let m = driver()?.models.get(model).map_err(|_| MODEL_CONTEXT)?;
    if is_on(Rule::Contexts) && current()?.id != m.context {
        return Err(MODEL_CONTEXT);
    }
    Ok(m)
}

/// Takes streams out of a model.
fn unbind(model: u64, gone: impl Fn(&Stream) -> bool) -> Reply {
    driver()?.streams.each(|s| {
        if gone(s) {
            // Relaxed: read by threads that were told of this call's end.
            let _ = s.model.compare_exchange(model, 0, Relaxed, Relaxed);
        }
    });
    Ok(())
}

fn execute(model: u64, stream: u64) -> Reply {
    let m = find(model)?;
    let work = m
        .work
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let s = target(stream)?;
    work.into_iter().try_for_each(|w| s.run(w))
}

const ACTIVE: i32 = 1;

api! {
    fn rtModelCreate(place: Out<u64>, _flags: u32) {
        place.need()?;
        place.put(driver()?.models.add(Model::new()?))
    }
    fn rtModelDestroy(model: u64) {
        find(model)?;
        driver()?.models.remove(model).map_err(|_| MODEL_CONTEXT)?;
        unbind(model, |_| true)
    }
    fn rtModelBindStream(model: u64, stream: u64, _flags: u32) {
        let m = find(model)?;
        let s = target(stream)?;
        let mut recording = s.recording();
        if recording.is_some() {
            return Err(STREAM_CAPTURED);
        }
        *recording = Some(Recording::default());
        s.model.store(model, Relaxed);
        m.bound.lock().unwrap_or_else(PoisonError::into_inner).push(s.handle);
        Ok(())
    }
    fn rtModelUnbindStream(model: u64, stream: u64) {
        let m = find(model)?;
        let s = target(stream)?;
        if let Some(r) = s.recording().take() {
            m.add(r.work);
        }
        m.bound.lock().unwrap_or_else(PoisonError::into_inner).retain(|b| *b != s.handle);
        unbind(model, |other| other.queue == s.queue)
    }
    fn rtModelLoadComplete(model: u64) {
        let d = driver()?;
        let m = find(model)?;
        let bound = std::mem::take(&mut *m.bound.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in bound {
            if let Some(r) = d.streams.look_up(handle)?.recording().take() {
                m.add(r.work);
            }
        }
        Ok(())
    }
    fn rtModelExecute(model: u64, stream: u64, _flags: u32) {
        execute(model, stream)
    }
    fn rtModelExecuteSync(model: u64, stream: u64, _flags: u32, _timeout: i32) {
        execute(model, stream)?;
        target(stream)?.finish()
    }
    fn rtStreamBeginCapture(stream: u64, _mode: i32) {
        let s = target(stream)?;
        let mut recording = s.recording();
        if recording.is_some() {
            return Err(STREAM_CAPTURED);
        }
        let model = driver()?.models.add(Model::new()?);
        *recording = Some(Recording { model, work: Vec::new() });
        Ok(())
    }
    fn rtStreamEndCapture(stream: u64, place: Out<u64>) {
        place.need()?;
        let s = target(stream)?;
        let r = s.recording().take().filter(|r| r.model != 0).ok_or(CAPTURE_UNMATCHED)?;
        driver()?.models.get(r.model)?.add(r.work);
        place.put(r.model)
    }
    fn rtStreamGetCaptureInfo(stream: u64, status: Out<i32>, model: Out<u64>) {
        let s = named(stream)?;
        let recording = s.recording();
        let r = recording.as_ref().filter(|r| r.model != 0);
        status.put(if r.is_some() { ACTIVE } else { 0 })?;
        model.set(r.map_or(0, |r| r.model));
        Ok(())
    }
}
