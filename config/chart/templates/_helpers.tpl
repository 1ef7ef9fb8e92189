{{- /* Labels of every object; `config/deploy` has them without those of Helm itself. */}}
{{- define "zonebridge.labels" -}}
app.kubernetes.io/part-of: zonebridge
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "zonebridge.bridgeLabels" -}}
app.kubernetes.io/name: zonebridge
{{ include "zonebridge.labels" . }}
{{- end }}

{{- define "zonebridge.enforcerLabels" -}}
app.kubernetes.io/name: zone-enforcer
{{ include "zonebridge.labels" . }}
{{- end }}

{{- define "zonebridge.enforcerNamespace" -}}
{{- if eq .Values.enforcer.namespace .Release.Namespace }}
{{- fail (printf "enforcer.namespace: '%s' is the release's namespace; the enforcers need one of their own, since only theirs may be privileged" .Values.enforcer.namespace) }}
{{- end }}
{{- .Values.enforcer.namespace }}
{{- end }}

{{- /* One image for all pods. */}}
{{- define "zonebridge.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry }}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The bridge's settings: those of bridge.settings, and over what they leave out what cluster and panorama say. */}}
{{- define "zonebridge.bridgeSettings" -}}
{{- $settings := deepCopy .Values.bridge.settings }}
{{- if not $settings.clusters }}
{{- $cluster := dict "name" (required "cluster.name: say what the cluster is called in every record" .Values.cluster.name) "deviceGroup" (required "cluster.deviceGroup: say which device group in Panorama the cluster is" .Values.cluster.deviceGroup) "inCluster" true "tier" .Values.cluster.tier "namespace" .Release.Namespace }}
{{- $_ := set $settings "clusters" (list $cluster) }}
{{- end }}
{{- if .Values.posture.watch }}
{{- $_ := set $settings "posture" (merge (dict "watch" true "enforcerNamespace" (include "zonebridge.enforcerNamespace" .)) (default dict (get $settings "posture"))) }}
{{- end }}
{{- if .Values.startupTaint.remove }}
{{- $_ := set $settings "startupTaint" "remove" }}
{{- end }}
{{- $panorama := default dict $settings.panorama }}
{{- if not $panorama.hosts }}
{{- if not .Values.panorama.hosts }}
{{- $_ := required "panorama.hosts: say which Panorama to read (one host, or both HA peers)" "" }}
{{- end }}
{{- $_ := set $panorama "hosts" .Values.panorama.hosts }}
{{- end }}
{{- if not (or $panorama.apiKeyFile $panorama.apiKeyEnv $panorama.passwordFile $panorama.passwordEnv) }}
{{- $_ := set $panorama "apiKeyFile" "/etc/zonebridge/panorama/api-key" }}
{{- end }}
{{- $_ := set $settings "panorama" $panorama }}
{{- toYaml $settings }}
{{- end }}

{{- /* Every node's settings: those of enforcer.settings, with the cluster's name and tier. */}}
{{- define "zonebridge.enforcerSettings" -}}
{{- $settings := deepCopy .Values.enforcer.settings }}
{{- if not $settings.cluster }}
{{- $_ := set $settings "cluster" (required "cluster.name: say what the cluster is called in every record" .Values.cluster.name) }}
{{- end }}
{{- if not $settings.tier }}
{{- $_ := set $settings "tier" .Values.cluster.tier }}
{{- end }}
{{- if .Values.posture.kubelets }}
{{- $_ := set $settings "kubelet" (merge (dict "ask" true) (default dict (get $settings "kubelet"))) }}
{{- end }}
{{- if .Values.metrics.podMonitor.enabled }}
{{- $_ := set $settings "metrics" (merge (dict "address" (printf "0.0.0.0:%s" (include "zonebridge.enforcerPort" .))) (default dict $settings.metrics)) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- /* The port of the enforcers' health, also where their settings are a ConfigMap of yours; none where they serve none. */}}
{{- define "zonebridge.enforcerPort" -}}
{{- $port := regexFind "[0-9]+$" (default "" (dig "metrics" "address" "" .Values.enforcer.settings)) }}
{{- default (ternary "9469" "" .Values.metrics.podMonitor.enabled) $port }}
{{- end }}

{{- /* A flat mapping on one line: {cpu: 100m, memory: 256Mi}. */}}
{{- define "zonebridge.flow" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- $pairs = append $pairs (printf "%s: %v" $key $value) }}
{{- end }}
{{- printf "{%s}" (join ", " $pairs) }}
{{- end }}
