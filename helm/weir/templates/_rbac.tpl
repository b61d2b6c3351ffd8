{{/* What is gathered and reported, in all namespaces or in each of the given ones. RBAC knows no labels: the operator asks only for
     Secrets that consent by theirs, but it could ask for others. */}}
{{- define "weir.gatherRules" -}}
- apiGroups: [weir.dev]
  resources: [modeltiers, routingpolicies]
  verbs: [list, watch]
- apiGroups: [weir.dev]
  resources: [modeltiers/status, routingpolicies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
{{- if .Values.rbac.readServices }}
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
