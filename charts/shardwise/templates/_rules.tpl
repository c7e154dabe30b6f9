{{- /* The verbs that the operator uses, and no others: tests/repo compares them with operator/shardwise/observe/kinds.py. */ -}}

{{- /* What it reads of the whole cluster, also if it serves a few namespaces: pods of all namespaces hold GPUs. */ -}}
{{- define "shardwise.rules.cluster" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [get, list, watch]
# The GPUs that dynamic resource allocation offers, and who holds them. Without this rule, they are not known.
- apiGroups: [resource.k8s.io]
  resources: [resourceslices, resourceclaims, deviceclasses]
  verbs: [get, list, watch]
# Kueue, where it is configured: the nodes that its queues offer.
- apiGroups: [kueue.x-k8s.io]
  resources: [clusterqueues]
  verbs: [get, list, watch]
- apiGroups: [kueue.x-k8s.io]
  resources: [resourceflavors]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
{{- end -}}

{{- /* What it does in the namespaces that it serves. */ -}}
{{- define "shardwise.rules.served" -}}
- apiGroups: [shardwise.dev]
  resources: [shardedmodels]
  verbs: [get, list, watch]
- apiGroups: [shardwise.dev]
  resources: [shardedmodels/status]
  verbs: [get, patch]
# Pods and Services are owned by the object with blockOwnerDeletion, which asks for this where the API server checks it.
- apiGroups: [shardwise.dev]
  resources: [shardedmodels/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The options file of an engine that reads one.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, patch, delete]
# ssh keys of an object's pods: made once, never read. Tokens are handed to pods by reference.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# NVLink between nodes.
- apiGroups: [resource.nvidia.com]
  resources: [computedomains]
  verbs: [create, patch, delete]
# GPUs by claims, where they are configured.
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: [create, patch, delete]
# How many GPUs a namespace may hold. Without this rule, the operator meets quotas only when it makes pods.
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [get, list, watch]
# Kueue, where it is configured. The Workload of a group that will never run is deleted, or its pods would stay.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [localqueues]
  verbs: [get, list, watch]
# The positions of groups in queues of Kueue, where Kueue tells them.
- apiGroups: [visibility.kueue.x-k8s.io]
  resources: [localqueues/pendingworkloads]
  verbs: [get]
# Gang schedulers, where they are configured: the group of each replica, made before its pods.
- apiGroups: [scheduling.k8s.io]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [scheduling.run.ai]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [scheduling.x-k8s.io]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- /* What connects models with add-ons: only the kinds that the configuration lets objects ask for. */ -}}
{{- define "shardwise.rules.attachments" -}}
{{- $attachments := default dict (default dict .Values.config).attachments -}}
{{- $scaler := default dict $attachments.scaler -}}
{{- if $attachments.inferencePools }}
{{ include "shardwise.rules.InferencePool" . }}
{{- end }}
{{- if $attachments.gateways }}
{{ include "shardwise.rules.HTTPRoute" . }}
{{- end }}
{{- if hasKey $scaler "keda" }}
{{ include "shardwise.rules.ScaledObject" . }}
{{- end }}
{{- if hasKey $scaler "horizontalPodAutoscaler" }}
{{ include "shardwise.rules.HorizontalPodAutoscaler" . }}
{{- end }}
{{- end -}}

{{- define "shardwise.rules.InferencePool" -}}
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{- define "shardwise.rules.HTTPRoute" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{- define "shardwise.rules.ScaledObject" -}}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{- define "shardwise.rules.HorizontalPodAutoscaler" -}}
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}
