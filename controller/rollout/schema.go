package rollout

import _ "embed"

// PlanSchema is the JSON Schema (draft 2020-12) of a plan file, made from the types by a
// test. It knows every field, type and word that [ParsePlan] takes, but not what fields have
// to do with each other or with the fleet; [Plan.Validate] does.
//
//go:embed plan.schema.json
var PlanSchema string
