{{/* How many pods a Deployment gets: never fewer than there are, unless its value is lowered. Takes a dict: root, name, replicas (the
     value), autoscaling (its values, with a type; or nothing). Gives JSON: `replicas` (absent: the field is left out), `kept` (more than
     the value, because they are there), and `asked`, for the annotation weir.dev/replicas, which the next upgrade reads:

       "5"           the value, when the manifest was rendered
       "autoscaler"  an autoscaler decides, and no manifest has ever had the field: it stays out, so that a rollback does not set it
       "kept"        an autoscaler decides, and an earlier manifest had the field: left out, Kubernetes would set it to 1

     `lookup` gives nothing without a cluster (helm template, Argo CD): then the value counts, and an autoscaler's field is left out. */}}
{{- define "weir.scale" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name }}
{{- $before := dig "metadata" "annotations" "weir.dev/replicas" "" $live }}
{{- $there := dig "spec" "replicas" 0 $live | int }}
{{- $value := int .replicas }}
{{- if not .autoscaling }}
{{- $lowered := and (regexMatch "^[0-9]+$" $before) (lt $value (int $before)) }}
{{- $replicas := ternary $value (max $value $there | int) $lowered }}
{{- dict "replicas" $replicas "asked" (toString $value) "kept" (gt $replicas $value) | toJson }}
{{- else }}
{{- if gt $there (int .autoscaling.maxReplicas) }}
{{- fail (printf "gateway.autoscaling.maxReplicas is %d, but %s has %d pods: the autoscaler would stop some of them at once. Set maxReplicas to %d or more, and lower it when there are fewer." (int .autoscaling.maxReplicas) .name $there $there) }}
{{- end }}
{{- if or (not $live) (eq $before "autoscaler") }}
{{- dict "asked" "autoscaler" | toJson }}
{{- else }}
{{- /* Not minReplicas where it is more: the autoscaler owns the field, and adds those itself. From 0 it would not. */}}
{{- dict "asked" "kept" "replicas" (default (int .autoscaling.minReplicas) $there) | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{- define "weir.gatewayScale" -}}
{{- $autoscaling := .Values.gateway.autoscaling }}
{{- include "weir.scale" (dict "root" . "name" (include "weir.gateway" .) "replicas" .Values.gateway.replicas "autoscaling" (ternary $autoscaling nil (ne $autoscaling.type ""))) }}
{{- end }}

{{- define "weir.operatorScale" -}}
{{- include "weir.scale" (dict "root" . "name" (include "weir.operator" .) "replicas" .Values.operator.replicas) }}
{{- end }}
