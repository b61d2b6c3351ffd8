{{/* Values that cannot work together, and changes that would lose what is there: all of them in one error, each as a sentence that says
     what to set. What is wrong with one value alone is in values.schema.json. */}}
{{- define "weir.checks" -}}
{{- $found := list }}
{{- range $check := list "weir.checkScaling" "weir.checkPorts" "weir.checkSecrets" "weir.checkPods" "weir.checkNames" "weir.checkChanges" }}
{{- range include $check $ | splitList "\n" }}
{{- with trim . }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- end }}
{{- if $found }}
{{- fail (printf "these values cannot work:\n  %s" (join "\n  " $found)) }}
{{- end }}
{{- end }}

{{- define "weir.checkScaling" -}}
{{- with .Values.gateway.autoscaling }}
{{- if .type }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
gateway.autoscaling.minReplicas is {{ .minReplicas }} and maxReplicas {{ .maxReplicas }}: set maxReplicas to {{ .minReplicas }} or more.
{{- end }}
{{- $requests := ($.Values.gateway.resources).requests | default dict }}
{{- $limits := ($.Values.gateway.resources).limits | default dict }}
{{- if and .targetCPUUtilization (not $requests.cpu) (not $limits.cpu) }}
gateway.autoscaling.targetCPUUtilization is a share of gateway.resources.requests.cpu, which is not set: set one, or targetCPUUtilization to null.
{{- end }}
{{- if eq .type "HPA" }}
{{- if not (or .targetCPUUtilization .metrics) }}
gateway.autoscaling.type HPA has nothing to scale on: set targetCPUUtilization or metrics.
{{- end }}
{{- if .triggers }}
gateway.autoscaling.triggers are for KEDA and type is HPA: write them as metrics, or set type to KEDA.
{{- end }}
{{- else }}
{{- if not (or .keda.targetDemand .targetCPUUtilization .triggers) }}
gateway.autoscaling.type KEDA has nothing to scale on: set one of keda.targetDemand, targetCPUUtilization, triggers.
{{- end }}
{{- if .metrics }}
gateway.autoscaling.metrics are for an HPA and type is KEDA: write them as triggers, or set type to HPA.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "weir.checkPorts" -}}
{{- with .Values.sidecar }}
{{- if eq (int .port) (int .adminPort) }}
sidecar.port and sidecar.adminPort are both {{ .port }}: a sidecar listens on both, so set different ones.
{{- end }}
{{- end }}
{{- with .Values.gateway }}
{{- if and .tls.plain (not .tls.secretName) }}
gateway.tls.plain keeps a port beside that with TLS, and gateway.tls.secretName names no certificate for TLS: set it, or plain to false.
{{- end }}
{{- if and .tls.caSecretName (not .tls.secretName) }}
gateway.tls.caSecretName names the authority of a certificate, and gateway.tls.secretName names no certificate: set it, or leave out caSecretName.
{{- end }}
{{- if and .tls.secretName .tls.plain (eq (int .tls.port) (int .service.port)) }}
gateway.tls.port and gateway.service.port are both {{ .service.port }}, with gateway.tls.plain: the Service needs two ports, so set different ones.
{{- end }}
{{- end }}
{{- end }}

{{- define "weir.checkSecrets" -}}
{{- with .Values.trust }}
{{- if and .configMap .existingSecret }}
trust.configMap and trust.existingSecret are both set, and authorities are read from one of them: put all into one, and leave out the other.
{{- end }}
{{- end }}
{{- with .Values.proxy }}
{{- if and .existingSecret (or .http .https) }}
proxy.existingSecret names a Secret with both URLs, so proxy.http and proxy.https would be ignored: leave these out, or the Secret.
{{- end }}
{{- end }}
{{- end }}

{{/* What the pods get: each environment variable, volume and path once, and no request above its limit. */}}
{{- define "weir.checkPods" -}}
{{- $own := include "weir.env" . | fromYamlArray }}
{{- range $part := list "gateway" "operator" }}
{{- $of := index $.Values $part }}
{{- $names := list }}
{{- if eq $part "operator" }}{{ $names = list "POD_NAME" "POD_IP" "POD_NAMESPACE" }}{{ end }}
{{- range $own }}{{ $names = append $names .name }}{{ end }}
{{- range $of.extraEnv }}
{{- if has .name $names }}
{{ $part }}.extraEnv has {{ .name }}, which is set already: leave it out{{ if hasPrefix "POD_" .name | not }}, or use trust and proxy{{ end }}.
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- $volumes := list "config" "ca" "token" "tls" "admin-token" "trust" }}
{{- range .Values.gateway.extraVolumes }}
{{- if has .name $volumes }}
gateway.extraVolumes has {{ .name }}, a name that is taken: choose another.
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $paths := list }}
{{- range .Values.gateway.extraVolumeMounts }}
{{- if regexMatch "^/(etc|run)/weir(/|$)" .mountPath }}
gateway.extraVolumeMounts has {{ .mountPath }}, where the router's own files are: choose another path.
{{- end }}
{{- if has .mountPath $paths }}
gateway.extraVolumeMounts has {{ .mountPath }} twice: one volume can be there.
{{- end }}
{{- if not (has .name $volumes) }}
gateway.extraVolumeMounts has {{ .name }}, which is no volume: add it to gateway.extraVolumes.
{{- end }}
{{- $paths = append $paths .mountPath }}
{{- end }}
{{- range $part := list "gateway" "operator" "sidecar" }}
{{- $resources := (index $.Values $part).resources | default dict }}
{{- $limits := $resources.limits | default dict }}
{{- range $what, $requested := $resources.requests | default dict }}
{{- $limit := get $limits $what }}
{{- if and $requested $limit }}
{{- if gt (include "weir.quantity" $requested | float64) (include "weir.quantity" $limit | float64) }}
{{ $part }}.resources.requests.{{ $what }} is {{ $requested }}, above its limit {{ $limit }}: no pod may ask for more than it may use.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A quantity such as 200m or 128Mi as a number. */}}
{{- define "weir.quantity" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[a-zA-Z]*$" $text }}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 }}
{{- if kindIs "string" . }}{{ mulf (trimSuffix $unit $text | float64) (get $factors $unit) }}{{ else }}{{ float64 . }}{{ end }}
{{- end }}

{{/* Labels and annotations: a key that the chart sets itself would be there twice, or mean something to Helm or the operator. */}}
{{- define "weir.checkNames" -}}
{{- $selectors := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- $own := concat $selectors (list "helm.sh/chart" "app.kubernetes.io/version" "app.kubernetes.io/managed-by") }}
{{- $monitoring := .Values.monitoring }}
{{- $labels := dict "commonLabels" .Values.commonLabels "gateway.podLabels" .Values.gateway.podLabels "operator.podLabels" .Values.operator.podLabels "monitoring.podMonitor.labels" $monitoring.podMonitor.labels "monitoring.prometheusRule.labels" $monitoring.prometheusRule.labels "monitoring.dashboards.labels" $monitoring.dashboards.labels }}
{{- range $path, $set := $labels }}
{{- range $key, $_ := $set }}
{{- if or (has $key (ternary $selectors $own (hasSuffix "podLabels" $path))) (eq $key "pod-template-hash") (hasPrefix "weir.dev/" $key) }}
{{ $path }} has {{ $key }}, which Weir and Kubernetes set themselves: leave it out, or choose another name.
{{- end }}
{{- end }}
{{- end }}
{{- $pods := dict "gateway.podAnnotations" .Values.gateway.podAnnotations "operator.podAnnotations" .Values.operator.podAnnotations }}
{{- $annotations := dict "commonAnnotations" .Values.commonAnnotations "gateway.service.annotations" .Values.gateway.service.annotations "gateway.serviceAccount.annotations" .Values.gateway.serviceAccount.annotations "operator.serviceAccount.annotations" .Values.operator.serviceAccount.annotations "monitoring.dashboards.annotations" $monitoring.dashboards.annotations }}
{{- range $path, $set := $annotations }}
{{- range $key, $_ := $set }}
{{- if or (hasPrefix "helm.sh/hook" $key) (hasPrefix "meta.helm.sh/" $key) (hasPrefix "weir.dev/" $key) }}
{{ $path }} has {{ $key }}, by which Helm and Weir know what is theirs: leave it out.
{{- end }}
{{- end }}
{{- end }}
{{- range $path, $set := merge $labels $annotations $pods }}
{{- range $key, $_ := $set }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" $key) }}
{{ $path }} has {{ quote $key }}, which is no key: write letters, digits, dashes and dots, with a domain and a slash before them if need be, such as example.com/team.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Changes of an installation that is there. `lookup` gives nothing without a cluster: then nothing is compared. */}}
{{- define "weir.checkChanges" -}}
{{- if .Release.IsUpgrade }}
{{- $operator := lookup "apps/v1" "Deployment" .Release.Namespace (include "weir.operator" .) }}
{{- if $operator }}
{{- range (first $operator.spec.template.spec.containers).args }}
{{- if and (hasPrefix "--class=" .) (ne . (printf "--class=%s" $.Values.className)) }}
className is {{ $.Values.className }}, and this installation serves {{ trimPrefix "--class=" . }}: nobody would serve objects of that class. Install a second release with className={{ $.Values.className }} and crds.install=false, apply the objects for it under other names, lead callers there, and uninstall this one.
{{- end }}
{{- end }}
{{- if and (not .Values.crds.install) (eq "delete" (dig "metadata" "annotations" "weir.dev/crds" "" $operator)) }}
crds.install is false, and this release does not keep its CRDs: Helm would delete them, and with them every ModelTier and RoutingPolicy. Upgrade with crds.install=true and crds.keep=true first, then with crds.install=false.
{{- end }}
{{- else }}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items }}
{{- $annotations := .metadata.annotations | default dict }}
{{- $labels := .metadata.labels | default dict }}
{{- if and (eq "weir" (get $labels "app.kubernetes.io/name")) (eq "operator" (get $labels "app.kubernetes.io/component")) (eq $.Release.Name (get $annotations "meta.helm.sh/release-name")) (hasPrefix (printf "%s-" $.Chart.Name) (get $labels "helm.sh/chart")) }}
{{- /* Another alias of a parent chart has another Chart.Name: that is a second installation. */}}
this release is installed as {{ get $labels "app.kubernetes.io/instance" }}, and would be {{ include "weir.installation" $ }} (fullnameOverride): everything would be made anew and the old Service be gone, with callers and tokens of its name. Set fullnameOverride={{ get $labels "app.kubernetes.io/instance" }}; for the new name install a second release with crds.install=false, lead callers there, and uninstall this one.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
