{{/* The Deployment of a role: the arguments of relay.pod, and "replicas" unless an autoscaler sets it. */}}
{{- define "relay.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "relay.metadata" (merge (dict "name" (printf "%s-%s" (include "relay.fullname" .root) .role)) .) | nindent 2 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "relay.selector" . | nindent 6 }}
  template:
    {{- include "relay.pod" . | nindent 4 }}
{{- end }}

{{- define "relay.podDisruptionBudget" -}}
{{- if .values.podDisruptionBudget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "relay.metadata" (merge (dict "name" (printf "%s-%s" (include "relay.fullname" .root) .role)) .) | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "relay.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* The arguments of a command that has --processes. */}}
{{- define "relay.processes" -}}
{{- $args := list .role -}}
{{- if gt (int .values.processes) 1 -}}
{{- $args = concat $args (list "--processes" (.values.processes | toString)) -}}
{{- end -}}
{{- toJson $args -}}
{{- end }}
