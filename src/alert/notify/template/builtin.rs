//! The texts that outlets use where the configuration has none.

/// `radiosonde.title`, `radiosonde.text`, `radiosonde.slack.text`.
pub const DEFINITIONS: &str = r#"
{{ define "radiosonde.title" -}}
{{- if eq .Kind "digest" }}[DIGEST] {{ len .Alerts }} alerts held back for {{ .Receiver }}
{{- else if eq .Kind "flapping" }}[FLAPPING] {{ .CommonLabels.alertname }}
{{- else if eq .Kind "escalation" }}[ESCALATION {{ .Step }}] {{ .CommonLabels.alertname }}
{{- else }}[{{ .Status | toUpper }}{{ if eq .Status "firing" }}{{ if gt (len .Alerts.Firing) 1 }}:{{ len .Alerts.Firing }}{{ end }}{{ end }}] {{ .CommonLabels.alertname }}
{{- end }}
{{- if .CommonLabels.severity }} ({{ .CommonLabels.severity }}){{ end }}
{{- if .CommonAnnotations.summary }}: {{ .CommonAnnotations.summary }}{{ end -}}
{{- end }}

{{ define "radiosonde.text" -}}
{{- range .Alerts }}{{ .Status | toUpper }} {{ .Labels.alertname }}{{ if .Labels.severity }} ({{ .Labels.severity }}){{ end }}
{{ if .Annotations.summary }}{{ .Annotations.summary }}
{{ end }}since {{ .StartsAt }}{{ if eq .Status "resolved" }}, over at {{ .EndsAt }}{{ end }}, value {{ .Value }}
{{- if gt .Transitions 0 }}, {{ .Transitions }} changes in the last hour{{ end }}
{{- if .Pattern }}
pattern: {{ .Pattern }}{{ if .Cause }}, cause: {{ .Cause }}{{ end }}{{ end }}
{{- if .AcknowledgedBy }}
acknowledged by {{ .AcknowledgedBy }}{{ end }}
labels:{{ range .Labels.SortedPairs }} {{ .Name }}={{ .Value }}{{ end }}
{{- if .ResolutionSteps }}
what to do:
{{- range .ResolutionSteps }}
- {{ . }}{{ end }}{{ end }}
{{- if .Contact }}
contact: {{ .Contact }}{{ end }}
{{- if .Escalation }}
escalation: {{ join ", " .Escalation }}{{ end }}
{{- if .RunbookURL }}
runbook: {{ .RunbookURL }}{{ end }}
{{- range .TraceURLs }}
trace: {{ . }}{{ end }}
{{- if .ConsoleURL }}
console: {{ .ConsoleURL }}{{ end }}
{{- if .SilenceURL }}
silence: {{ .SilenceURL }}{{ end }}

{{ end }}
{{- if gt .TruncatedAlerts 0 }}and {{ .TruncatedAlerts }} more
{{ end }}
{{- end }}

{{ define "radiosonde.slack.text" -}}
{{ template "radiosonde.text" . }}
{{- end }}
"#;
