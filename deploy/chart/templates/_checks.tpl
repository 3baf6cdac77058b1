{{/* What a schema cannot say: values that need each other. Each message says what to set. */}}
{{- define "relay.checks" -}}
{{- with .Values }}
{{- $secrets := list -}}
{{- if .secret.existingSecret }}{{ $secrets = append $secrets "existingSecret" }}{{ end -}}
{{- if .secret.values }}{{ $secrets = append $secrets "values" }}{{ end -}}
{{- if .secret.externalSecret.enabled }}{{ $secrets = append $secrets "externalSecret" }}{{ end -}}
{{- if not $secrets -}}
{{- fail "secret: the relay needs a Secret with RELAY_SECRET_KEY; set secret.existingSecret to its name (or secret.externalSecret, or for a trial secret.values)" -}}
{{- end -}}
{{- if gt (len $secrets) 1 -}}
{{- fail (printf "secret: set one of %s, not all of them" (join ", " $secrets)) -}}
{{- end -}}
{{- if and .secret.values (not .secret.values.RELAY_SECRET_KEY) -}}
{{- fail "secret.values: RELAY_SECRET_KEY is missing; make one with `relay secret generate --for relay`" -}}
{{- end -}}
{{- if and .secret.values (not .secret.values.REDIS_URL) (not .redis.url) (not .valkey.enabled) -}}
{{- fail "redis.url: the relay needs a Redis; set redis.url, REDIS_URL in secret.values, or for a trial valkey.enabled" -}}
{{- end -}}
{{- if regexMatch "://[^/]*:[^/@]*@|password=" .redis.url -}}
{{- fail "redis.url: it has a password, which every reader of the Deployment would see; put REDIS_PASSWORD (or all of REDIS_URL) into the Secret" -}}
{{- end -}}
{{- if and .valkey.enabled .redis.url -}}
{{- fail "redis.url: it cannot be combined with valkey.enabled; set one of them" -}}
{{- end -}}
{{- if and .bootstrap.enabled (not .publicUrl) -}}
{{- fail "publicUrl: bootstrap registers it at Linq; set it (such as https://relay.example.com), or bootstrap.enabled=false" -}}
{{- end -}}
{{- if and .expose.ingress.enabled (not .expose.ingress.hosts) (not .publicUrl) -}}
{{- fail "expose.ingress.hosts: set them, or publicUrl" -}}
{{- end -}}
{{- if and .expose.httpRoute.enabled (not .expose.httpRoute.parentRefs) -}}
{{- fail "expose.httpRoute.parentRefs: name the Gateway, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .expose.httpRoute.enabled (not .expose.httpRoute.hostnames) (not .publicUrl) -}}
{{- fail "expose.httpRoute.hostnames: set them, or publicUrl" -}}
{{- end -}}
{{- $path := (urlParse (.publicUrl | default "")).path | default "" | trimSuffix "/" -}}
{{- if and $path (or .expose.ingress.enabled .expose.httpRoute.enabled) -}}
{{- fail (printf "publicUrl: the relay serves /webhooks/linq, not %s/webhooks/linq; give it a host of its own, or make a route that removes %s yourself" $path $path) -}}
{{- end -}}
{{- if gt (int .ingress.autoscaling.minReplicas) (int .ingress.autoscaling.maxReplicas) -}}
{{- fail "ingress.autoscaling: minReplicas is larger than maxReplicas" -}}
{{- end -}}
{{- if and .secret.externalSecret.enabled (not (and .secret.externalSecret.secretStoreRef (or .secret.externalSecret.data .secret.externalSecret.dataFrom))) -}}
{{- fail "secret.externalSecret: set secretStoreRef, and data or dataFrom" -}}
{{- end -}}
{{- end }}
{{- end }}
