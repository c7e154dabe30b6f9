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
