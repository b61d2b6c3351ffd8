{{/* Plurals of all kinds as a list in JSON, from the CRDs: a new kind needs no change here. With "/status": their statuses. */}}
{{- define "weir.kinds" -}}
{{- $found := list }}
{{- range $path, $_ := .root.Files.Glob "files/crds/*.yaml" }}
{{- $found = append $found (printf "%s%s" ($.root.Files.Get $path | fromYaml).spec.names.plural $.suffix) }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* What is gathered and reported, in all namespaces or in each of the given ones. RBAC knows no labels: the operator asks only for
     Secrets that consent by theirs, but it could ask for others. */}}
{{- define "weir.gatherRules" -}}
- apiGroups: [weir.dev]
  resources: {{ include "weir.kinds" (dict "root" . "suffix" "") }}
  verbs: [list, watch] # what is compiled
- apiGroups: [weir.dev]
  resources: {{ include "weir.kinds" (dict "root" . "suffix" "/status") }}
  verbs: [patch] # their verdicts
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch] # credentials that tiers refer to, and callers' keys
{{- if .Values.rbac.readServices }}
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch] # `backendRef` of a ModelTier
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch] # the pods behind it
{{- end }}
{{- if .Values.sidecar.enabled }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list] # those that should have a sidecar and have none, of namespaces and pods that ask for one
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create] # changes of verdicts
{{- end }}
