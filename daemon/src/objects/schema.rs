//! What is made of a generated schema: descriptions that read well, and twins in other groups.
//!
//! A kind's Rust type is tied to one group and version; the twins differ in nothing else, so each
//! is made from the CRD of the original rather than from a copied struct.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Joins the lines of all descriptions: where a line of source ends is nothing to `kubectl explain`, which has margins of its
/// own.
pub(super) fn join_lines(definition: &mut CustomResourceDefinition) {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            join_lines_below(schema);
        }
    }
}

fn join_lines_below(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    let properties = schema.properties.iter_mut().flatten();
    properties.for_each(|(_, property)| join_lines_below(property));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        join_lines_below(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        join_lines_below(values);
    }
}

/// A kind that has the schema of another.
pub(super) struct Twin {
    pub(super) group: &'static str,
    /// The served versions; the last one is stored.
    pub(super) versions: &'static [&'static str],
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) short_name: &'static str,
}

impl Twin {
    /// `original` in another group, under another name; its condition types get the group's prefix
    /// in printer columns, as Cilium writes them.
    pub(super) fn of(&self, original: &CustomResourceDefinition) -> CustomResourceDefinition {
        let mut twin = original.clone();
        twin.metadata.name = Some(format!("{}.{}", self.plural, self.group));
        twin.spec.group = self.group.to_owned();
        twin.spec.names = CustomResourceDefinitionNames {
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: Some(self.kind.to_lowercase()),
            short_names: Some(vec![self.short_name.to_owned()]),
            categories: Some(vec!["landfall".to_owned()]),
            list_kind: None,
        };
        let mut version = twin.spec.versions.remove(0);
        for column in version.additional_printer_columns.iter_mut().flatten() {
            column.json_path = column
                .json_path
                .replace("@.type==\"", &format!("@.type==\"{}/", self.group));
        }
        twin.spec.versions = self
            .versions
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut version = version.clone();
                version.name = (*name).to_owned();
                version.storage = index + 1 == self.versions.len();
                version
            })
            .collect();
        twin
    }
}
