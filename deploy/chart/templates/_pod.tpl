{{/*
The pod template of a role: (dict "root" $ "role" "worker" "values" .Values.worker "args" (list "worker")), with
"job" true for a pod that ends by itself, and "grace", its grace period in seconds.
*/}}
{{- define "relay.pod" -}}
{{- $values := .root.Values -}}
{{- $annotations := merge (dict) (.values.podAnnotations | default dict) $values.podAnnotations -}}
{{- if $values.secret.values -}}
{{- $_ := set $annotations "checksum/secret" (toJson $values.secret.values | sha256sum) -}}
{{- end -}}
{{- if and $values.rollOnConfigChange (not $values.existingConfigMap) -}}
{{- $_ := set $annotations "checksum/config" (sha256sum $values.config) -}}
{{- end -}}
{{- if and (eq $values.monitoring.scrape "annotations") (not .job) -}}
{{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" "8081" "prometheus.io/path" "/metrics" -}}
{{- $annotations = merge $annotations $scrape -}}
{{- end -}}
metadata:
  labels:
    {{- include "relay.labels" . | nindent 4 }}
    {{- if not .job }}
    {{- include "relay.scraped" .root | nindent 4 }}
    {{- end }}
    {{- with merge (dict) (.values.podLabels | default dict) $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "relay.serviceAccount" .root }}
  automountServiceAccountToken: false
  # Variables such as RELAY_ADMIN_PORT, made from the names of Services, would be taken for settings.
  enableServiceLinks: false
  {{- if .job }}
  restartPolicy: Never
  {{- else }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- end }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.priorityClassName | default $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.nodeSelector | default $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations | default $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity | default $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $values.topologySpreadConstraints (not .job) }}
  topologySpreadConstraints:
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "relay.selector" . | fromYaml)) }}
    {{- $spread := list }}
    {{- range $values.topologySpreadConstraints }}{{ $spread = append $spread (merge (dict) . $selector) }}{{ end }}
    {{- toYaml $spread | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "relay.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      {{- with $values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if ne .role "ingress" }}
      envFrom:
        - secretRef:
            name: {{ include "relay.secret" .root }}
      {{- end }}
      env:
        {{- include "relay.env" . | nindent 8 }}
      {{- if not .job }}
      ports:
        {{- if eq .role "ingress" }}
        - name: http
          containerPort: 8080
        {{- end }}
        - name: admin
          containerPort: 8081
      # A start may wait for Redis; a process that answers is alive, whatever Redis does.
      startupProbe:
        httpGet: {path: /live, port: admin}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /live, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /ready, port: admin}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- end }}
      {{- with .values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: /etc/relay
          readOnly: true
        {{- if ne .role "ingress" }}
        - name: secret
          mountPath: /run/secrets/relay
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "relay.configMap" .root }}
    {{- if ne .role "ingress" }}
    - name: secret
      secret:
        secretName: {{ include "relay.secret" .root }}
        defaultMode: 0440
    {{- end }}
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The environment of a role. The ingress, which strangers reach, has only the secrets that it uses. */}}
{{- define "relay.ownEnv" -}}
{{- $values := .root.Values -}}
{{- $redisUrl := include "relay.redisUrl" .root -}}
- name: RELAY_CONFIG
  value: /etc/relay/relay.toml
- name: RELAY_ADMIN_LISTEN
  value: 0.0.0.0:8081
- name: RELAY_LOG_FORMAT
  value: json
- name: RELAY_LOG_LEVEL
  value: {{ $values.logLevel }}
{{- with $values.publicUrl }}
- name: RELAY_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- with $redisUrl }}
- name: REDIS_URL
  value: {{ . | quote }}
{{- end }}
- name: RELAY_REPLICAS
  value: {{ $values.redis.replicas | quote }}
{{- with $values.redis.username }}
- name: REDIS_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- with $values.redis.keyPrefix }}
- name: RELAY_KEY_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- if eq .role "ingress" }}
- name: RELAY_LISTEN
  value: 0.0.0.0:8080
- name: RELAY_SHUTDOWN_DELAY
  value: {{ printf "%ds" (int $values.ingress.shutdownDelay) }}
{{- $secrets := list "REDIS_PASSWORD" "RELAY_SECRET_KEY" "RELAY_SECRET_KEY_OLD" "LINQ_V2_WEBHOOK_SECRET" "LINQ_V2_WEBHOOK_SECRET_OLD" -}}
{{- if not $redisUrl -}}
{{- $secrets = prepend $secrets "REDIS_URL" -}}
{{- end -}}
{{- range $secrets }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ include "relay.secret" $.root }}
      key: {{ . }}
      optional: {{ not (has . (list "REDIS_URL" "RELAY_SECRET_KEY")) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The same with the variables of the values: the last one of a name is the one that counts. */}}
{{- define "relay.env" -}}
{{- $all := concat (include "relay.ownEnv" . | fromYamlArray) .root.Values.extraEnv (.values.extraEnv | default list) -}}
{{- $last := dict -}}
{{- range $all }}{{ $_ := set $last .name . }}{{ end -}}
{{- $env := list -}}
{{- range $all }}{{ if hasKey $last .name }}{{ $env = append $env (get $last .name) }}{{ $_ := unset $last .name }}{{ end }}{{ end -}}
{{- toYaml $env }}
{{- end }}
