{{/* The installation: what everything is named after. */}}
{{- define "weir.installation" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name -}}
{{- if not (regexMatch "^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$" $name) -}}
{{- fail (printf "%q names no installation: at most 50 lower-case letters, digits and dashes. Choose another release name, or set fullnameOverride." $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "weir.operator" -}}{{ include "weir.installation" . }}-operator{{- end }}
{{- define "weir.gateway" -}}{{ include "weir.installation" . }}-gateway{{- end }}
{{- define "weir.scaler" -}}{{ include "weir.installation" . }}-scaler{{- end }}
{{- define "weir.router" -}}{{ include "weir.installation" . }}-router{{- end }}

{{/* Names of what belongs to no namespace: unique in the cluster, however many installations there are. */}}
{{- define "weir.clusterName" -}}weir:{{ .Release.Namespace }}:{{ include "weir.installation" . }}{{- end }}

{{/* The same for a kind whose names have no colons; the operator knows it as well (weir_operator.kube.webhooks). */}}
{{- define "weir.webhook" -}}{{ include "weir.installation" . }}.{{ .Release.Namespace }}.sidecar.weir.dev{{- end }}

{{/* Values of the label weir.dev/inject that ask for sidecars; the operator has the same (weir_operator.sidecar.expected). */}}
{{- define "weir.injectYes" -}}{{ toJson (list "true" "True" "TRUE" "enabled") }}{{- end }}

{{- define "weir.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}
{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What selects pods; takes the root and a component, as a list. Never changes: a Deployment's selector cannot. */}}
{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ include "weir.installation" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* metadata of anything but a pod: name (unless it is empty), labels, annotations. Takes a dict: root, name, component, cluster,
     labels, annotations. */}}
{{- define "weir.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  app.kubernetes.io/name: weir
  app.kubernetes.io/instance: {{ include "weir.installation" .root }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  {{- range $key, $value := merge (dict) (.labels | default dict) (.root.Values.commonLabels | default dict) }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- range $key, $value := . }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* metadata of a pod. Takes a dict: root, component, labels, annotations. */}}
{{- define "weir.podMetadata" -}}
labels:
  {{- include "weir.selector" (list .root .component) | nindent 2 }}
  {{- range $key, $value := merge (dict) (.labels | default dict) (.root.Values.commonLabels | default dict) }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- range $key, $value := . }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where pods go. Takes a dict: root, component, of (values of the component). */}}
{{- define "weir.scheduling" -}}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
{{- if .of.topologySpreadConstraints }}
  {{- toYaml .of.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- $root := .root }}{{ $component := .component }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "weir.selector" (list $root $component) | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}

{{- define "weir.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "weir.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment of both: authorities and proxy. */}}
{{- define "weir.env" -}}
{{- if or .Values.trust.configMap .Values.trust.existingSecret }}
- name: SSL_CERT_FILE # besides SSL_CERT_DIR, where the public ones are
  value: /etc/weir/trust/{{ .Values.trust.key }}
{{- end }}
{{- with .Values.proxy }}
{{- if and .http (not .existingSecret) }}
- name: HTTP_PROXY
  value: {{ .http | quote }}
{{- end }}
{{- if and .https (not .existingSecret) }}
- name: HTTPS_PROXY
  value: {{ .https | quote }}
{{- end }}
{{- if or .http .https .existingSecret }}
- name: NO_PROXY
  value: {{ list "$(KUBERNETES_SERVICE_HOST)" "localhost" "127.0.0.1" ".svc" ".cluster.local" .noProxy | compact | join "," | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes a list: the root and the values of the component. */}}
{{- define "weir.envFrom" -}}
{{- with (index . 0).Values.proxy.existingSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- with (index . 1).extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weir.trustVolume" -}}
{{- with .Values.trust }}
{{- if .configMap }}
- name: trust
  configMap: {name: {{ .configMap }}}
{{- else if .existingSecret }}
- name: trust
  secret: {secretName: {{ .existingSecret }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- end }}

{{- define "weir.trustMount" -}}
{{- if or .Values.trust.configMap .Values.trust.existingSecret }}
- {name: trust, mountPath: /etc/weir/trust, readOnly: true}
{{- end }}
{{- end }}

{{/* Where sidecars reach the gateway: without TLS only where that port is there and no authority is named. A certificate names the Service's host with .svc. */}}
{{- define "weir.gatewayURL" -}}
{{- $host := printf "%s.%s" (include "weir.installation" .) .Release.Namespace }}
{{- with .Values.gateway }}
{{- if and .tls.secretName (or .tls.caSecretName (not .tls.plain)) }}{{ printf "https://%s.svc:%v" $host .tls.port }}{{ else }}{{ printf "http://%s:%v" $host .service.port }}{{ end }}
{{- end }}
{{- end }}

{{/* The Secret with the authority of the gateway's certificate; empty without TLS. */}}
{{- define "weir.gatewayCA" -}}
{{- with .Values.gateway.tls }}{{ if .secretName }}{{ .caSecretName }}{{ end }}{{ end }}
{{- end }}

{{/* How a pod's sidecar is made: weir_operator.sidecar.inject.Settings. */}}
{{- define "weir.sidecar" -}}
image: {{ include "weir.image" . | quote }}
pullPolicy: {{ .Values.image.pullPolicy }}
installation: {{ include "weir.installation" . }}
gateway: {{ include "weir.gatewayURL" . }}
configServer: https://{{ include "weir.operator" . }}.{{ .Release.Namespace }}.svc:8443
port: {{ .Values.sidecar.port }}
adminPort: {{ .Values.sidecar.adminPort }}
metrics: {{ .Values.sidecar.metrics | default false }}
resources: {{- toYaml .Values.sidecar.resources | nindent 2 }}
{{- with .Values.cors.allowedOrigins }}
allowedOrigins: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Names of the objects that the operator publishes and the gateway mounts (weir_operator.publish.publication.Names), as lists in JSON. */}}
{{- define "weir.publishedConfigMaps" -}}
{{- $installation := include "weir.installation" . }}
{{- $found := list (printf "%s-index" $installation) }}
{{- range until 16 }}{{ $found = append $found (printf "%s-shard-%02d" $installation .) }}{{ end }}
{{- toJson $found }}
{{- end }}

{{/* The first is the one Secret of credentials of version 0.1, which goes an hour after an upgrade. */}}
{{- define "weir.publishedSecrets" -}}
{{- $installation := include "weir.installation" . }}
{{- $found := list (printf "%s-credentials" $installation) (printf "%s-caller-keys" $installation) (printf "%s-state-keys" $installation) }}
{{- range until 32 }}{{ $found = append $found (printf "%s-credentials-%02d" $installation .) }}{{ end }}
{{- toJson $found }}
{{- end }}

{{/* NetworkPolicy peers in YAML, from a list of peers, names of namespaces, and addresses as CIDRs. */}}
{{- define "weir.peers" -}}
{{- range . }}
{{- if and (kindIs "string" .) (contains "/" .) }}
- ipBlock: {cidr: {{ . | quote }}}
{{- else if kindIs "string" . }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
{{- else }}
- {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
