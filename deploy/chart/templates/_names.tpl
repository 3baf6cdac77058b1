{{- define "relay.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* A release that is called after the relay already gives its objects no longer name. */}}
{{- define "relay.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = contains "relay" .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name (include "relay.name" .)) -}}
{{- end -}}
{{- $name | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/* What selects the pods of a role: (dict "root" $ "role" "worker"), or of all roles without "role". */}}
{{- define "relay.selector" -}}
app.kubernetes.io/name: {{ include "relay.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* What selects the pods that have metrics. */}}
{{- define "relay.scraped" -}}
linq-relay/metrics: "true"
{{- end }}

{{- define "relay.labels" -}}
{{ include "relay.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: linq-relay
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object: (dict "root" $ "role" "worker" "name" "relay-worker"), with "labels" and "annotations". */}}
{{- define "relay.metadata" -}}
{{- $annotations := merge (dict) (.annotations | default dict) .root.Values.commonAnnotations -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "relay.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "relay.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "relay.fullname" .) }}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "relay.configMap" -}}
{{- .Values.existingConfigMap | default (include "relay.fullname" .) }}
{{- end }}

{{- define "relay.secret" -}}
{{- .Values.secret.existingSecret | default (include "relay.fullname" .) }}
{{- end }}

{{- define "relay.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{- define "relay.redisUrl" -}}
{{- if .Values.valkey.enabled -}}
redis://{{ include "relay.fullname" . }}-valkey:6379/0
{{- else -}}
{{- .Values.redis.url }}
{{- end }}
{{- end }}

{{- define "relay.publicHost" -}}
{{- with .Values.publicUrl }}{{ (urlParse .).host | splitList ":" | first }}{{ end }}
{{- end }}
