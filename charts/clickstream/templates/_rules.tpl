{{- /*
What the operator may do in a namespace of pipelines. Secrets are read one by one, by the names that a pipeline gives: there is no
right to list or watch them, and no wildcard anywhere.
*/ -}}
{{- define "clickstream.pipelineRules" -}}
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines]
  verbs: [get, list, watch, patch]
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines/status]
  verbs: [patch]
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "clickstream.topicRules" -}}
- apiGroups: [kafka.strimzi.io]
  resources: [kafkatopics]
  verbs: [get, list, create, patch, delete]
{{- end }}
