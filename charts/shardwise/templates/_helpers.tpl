{{- define "shardwise.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "shardwise.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "shardwise.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The operator configuration, with the paths at which the chart mounts the Hub's files. */ -}}
{{- define "shardwise.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $hub := default dict $config.hub -}}
{{- if .Values.hub.tokenSecret.name -}}
{{- $_ := set $hub "tokenFile" (printf "/etc/shardwise-hub/token/%s" .Values.hub.tokenSecret.key) -}}
{{- end -}}
{{- if or .Values.hub.ca.configMap .Values.hub.ca.secret -}}
{{- $_ := set $hub "caFile" (printf "/etc/shardwise-hub/ca/%s" .Values.hub.ca.key) -}}
{{- end -}}
{{- if $hub -}}
{{- $_ := set $config "hub" $hub -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "shardwise.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "shardwise.labels" -}}
{{ include "shardwise.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "shardwise.subjects" -}}
- kind: ServiceAccount
  name: {{ include "shardwise.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "shardwise.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- /* What the Pod Security Standard `restricted` asks of a pod and of a container. */ -}}
{{- define "shardwise.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "shardwise.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* The pod's affinity: its own, or else operators on different nodes. */ -}}
{{- define "shardwise.affinity" -}}
{{- if .Values.affinity -}}
{{- toYaml .Values.affinity -}}
{{- else if eq .Values.podAntiAffinity "required" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels: {{- include "shardwise.selectorLabels" . | nindent 10 }}
{{- else if eq .Values.podAntiAffinity "preferred" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "shardwise.selectorLabels" . | nindent 12 }}
{{- end -}}
{{- end -}}

{{- /* Constraints of the pod's spread. A constraint without a selector counts the operators of this release. */ -}}
{{- define "shardwise.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "shardwise.selectorLabels" . | fromYaml)) -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (ternary . (merge (deepCopy .) $own) (hasKey . "labelSelector")) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}

{{- /* Labels of the pod of `helm test`. The operators' Service must not select it. */ -}}
{{- define "shardwise.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
