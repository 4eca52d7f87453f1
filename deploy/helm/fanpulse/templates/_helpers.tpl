{{- define "fanpulse.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-fanpulse" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects the pods of one part: (list $ "worker"). */}}
{{- define "fanpulse.selector" -}}
app.kubernetes.io/name: fanpulse
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "fanpulse.labels" -}}
{{ include "fanpulse.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{- define "fanpulse.metadata" -}}
name: {{ include "fanpulse.name" (index . 0) }}-{{ index . 1 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "fanpulse.labels" . | nindent 2 }}
{{- end }}

{{/* (list $ .Values.image) */}}
{{- define "fanpulse.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}{{ end }}
{{- end }}

{{/* What every pod has: (list $ "worker"). */}}
{{- define "fanpulse.pod" -}}
automountServiceAccountToken: false
serviceAccountName: {{ include "fanpulse.name" (index . 0) }}
# Variables that Kubernetes makes of service names would be read as settings: FANPULSE_BOARD_PORT=tcp://…
enableServiceLinks: false
{{- with (index . 0).Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "fanpulse.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{- define "fanpulse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What worker, alerts, board and the topics hook are told: (list $ "worker"). */}}
{{- define "fanpulse.env" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
- {name: FANPULSE_PROFILE, value: production}
- {name: FANPULSE_GROUP, value: {{ $v.kafka.group | quote }}}
- {name: FANPULSE_COMMENTS_TOPIC, value: {{ $v.kafka.commentsTopic | quote }}}
- {name: FANPULSE_REJECTED_TOPIC, value: {{ $v.kafka.rejectedTopic | quote }}}
- {name: FANPULSE_REDIS_URL, valueFrom: {secretKeyRef: {name: {{ $v.redis.existingSecret }}, key: {{ get $v.redis.urlKeys (index . 1) | default $v.redis.urlKeys.worker }}}}}
- {name: FANPULSE_REDIS_CLUSTER, value: {{ $v.redis.cluster | quote }}}
{{- if $v.redis.caKey }}
- {name: FANPULSE_REDIS_CA_FILE, value: /etc/fanpulse/redis-ca/ca.crt}
{{- end }}
- {name: FANPULSE_TRITON_URL, value: {{ printf "%s://%s-triton.%s.svc:8001" (ternary "grpcs" "grpc" (not (empty $v.triton.tlsSecret))) (include "fanpulse.name" $root) $root.Release.Namespace }}}
- {name: FANPULSE_MODELS, value: {{ $v.models | toJson | quote }}}
- {name: FANPULSE_PSEUDONYM_KEY, valueFrom: {secretKeyRef: {name: {{ $v.pseudonyms.existingSecret }}, key: pseudonym-key}}}
- {name: FANPULSE_DRAIN_S, value: {{ $v.worker.drainSeconds | int | quote }}}
{{- range $name, $value := $v.settings }}
- {name: FANPULSE_{{ upper $name }}, value: {{ ternary ($value | toString) ($value | toJson) (kindIs "string" $value) | quote }}}
{{- end }}
{{- end }}

{{/* The authority that signs Triton's certificate, for the one who talks to it: the worker. */}}
{{- define "fanpulse.tritonEnv" -}}
{{- if .Values.triton.tlsSecret }}
- {name: FANPULSE_TRITON_CA_FILE, value: /etc/fanpulse/triton-ca/ca.crt}
{{- end }}
{{- end }}

{{- define "fanpulse.tritonVolumes" -}}
{{- with .Values.triton.tlsSecret }}
- {name: triton-ca, secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- end }}

{{- define "fanpulse.tritonMounts" -}}
{{- if .Values.triton.tlsSecret }}
- {name: triton-ca, mountPath: /etc/fanpulse/triton-ca, readOnly: true}
{{- end }}
{{- end }}

{{/* The way to Kafka, for those who talk to it: worker and topics hook. */}}
{{- define "fanpulse.kafkaEnv" -}}
{{- with .Values.kafka -}}
- {name: FANPULSE_KAFKA_URL, value: {{ printf "kafka://%s" (join "," .brokers) | quote }}}
- {name: FANPULSE_KAFKA_SECURITY, value: {{ .security }}}
{{- if hasPrefix "SASL" .security }}
- {name: FANPULSE_KAFKA_SASL_MECHANISM, value: {{ .saslMechanism }}}
- {name: FANPULSE_KAFKA_USERNAME, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: username}}}
- {name: FANPULSE_KAFKA_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: password}}}
{{- end }}
{{- if .caKey }}
- {name: FANPULSE_KAFKA_CA_FILE, value: /etc/fanpulse/kafka-ca/ca.crt}
{{- end }}
{{- if .clientCertificate.existingSecret }}
- {name: FANPULSE_KAFKA_CERT_FILE, value: /etc/fanpulse/kafka-client/tls.crt}
- {name: FANPULSE_KAFKA_KEY_FILE, value: /etc/fanpulse/kafka-client/tls.key}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanpulse.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- with .Values.redis }}
{{- if .caKey }}
- {name: redis-ca, secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .caKey }}, path: ca.crt}]}}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanpulse.kafkaVolumes" -}}
{{- with .Values.kafka }}
{{- if .caKey }}
- {name: kafka-ca, secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .caKey }}, path: ca.crt}]}}
{{- end }}
{{- with .clientCertificate }}
{{- if .existingSecret }}
- {name: kafka-client, secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .certKey }}, path: tls.crt}, {key: {{ .keyKey }}, path: tls.key}]}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanpulse.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.redis.caKey }}
- {name: redis-ca, mountPath: /etc/fanpulse/redis-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "fanpulse.kafkaMounts" -}}
{{- if .Values.kafka.caKey }}
- {name: kafka-ca, mountPath: /etc/fanpulse/kafka-ca, readOnly: true}
{{- end }}
{{- if .Values.kafka.clientCertificate.existingSecret }}
- {name: kafka-client, mountPath: /etc/fanpulse/kafka-client, readOnly: true}
{{- end }}
{{- end }}

{{/* How the container of our image begins: (list $ "worker" (list "worker")). */}}
{{- define "fanpulse.container" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "fanpulse.image" (list $root $root.Values.image) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: {{ index . 2 | toJson }}
securityContext: {{ include "fanpulse.containerSecurity" $root | nindent 2 }}
{{- end }}
