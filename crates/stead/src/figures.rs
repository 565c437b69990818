//! Joins what the parts of this process count to the API that shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiserver::figures::{FigureSource, Measured, Usage};
use async_trait::async_trait;
use client::Informers;
use node::Node;

/// The parts that count.
pub(crate) struct Figures {
    /// What the planners see.
    pub(crate) informers: Arc<Informers>,
    /// The planners.
    pub(crate) controllers: Arc<controllers::Figures>,
    /// DNS, when this process serves it.
    pub(crate) dns: Option<Arc<dns::Figures>>,
    /// The node of this process, and its name.
    pub(crate) node: Option<(String, Node)>,
}

#[async_trait]
impl FigureSource for Figures {
    async fn text(&self) -> String {
        let mut text = self.controllers.text(&self.informers.world());
        text.extend(self.dns.iter().map(|dns| dns.text()));
        if let Some((_, node)) = &self.node {
            text += &node.figures().await;
        }
        text
    }

    async fn nodes(&self) -> BTreeMap<String, Measured> {
        match &self.node {
            Some((name, node)) => [(name.clone(), measured(node.usage().await))].into(),
            None => BTreeMap::new(),
        }
    }

    async fn pods(&self) -> BTreeMap<(String, String), Measured> {
        match &self.node {
            Some((_, node)) => {
                node.pods_usage().await.into_iter().map(|(pod, figures)| (pod, measured(figures))).collect()
            }
            None => BTreeMap::new(),
        }
    }
}

fn measured(figures: node::Measured) -> Measured {
    let node::Measured { at, window, usage } = figures;
    let usage =
        usage.into_iter().map(|(name, (cpu_nanocores, memory))| (name, Usage { cpu_nanocores, memory }));
    Measured { at, window, usage: usage.collect() }
}
