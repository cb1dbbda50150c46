{{- /* Name of the chart in labels. */ -}}
{{- define "portolan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Name of the objects. 52 characters leave room for the hash that the DaemonSet controller appends as a label. */ -}}
{{- define "portolan.fullname" -}}
{{- $name := include "portolan.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "portolan.selectorLabels" -}}
app.kubernetes.io/name: {{ include "portolan.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portolan.labels" -}}
{{ include "portolan.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "portolan.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "portolan.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "portolan.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* HOST of a HOST:PORT, without the brackets of an IPv6 address. */ -}}
{{- define "portolan.host" -}}
{{- regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" -}}
{{- end -}}

{{- define "portolan.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- /* Where /metrics answers: on the health port's address if exposed. */ -}}
{{- define "portolan.metricsBindAddress" -}}
{{- with .Values.config -}}
{{- if $.Values.metrics.expose -}}
{{- regexReplaceAll "[0-9]+$" .healthzBindAddress (include "portolan.port" .metricsBindAddress) -}}
{{- else -}}
{{- .metricsBindAddress -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
What the chart itself decides, whatever else the configuration says: addresses that probes and monitors ask, the API
server, and what the container has no rights for. As YAML, by the names of the configuration file.
*/ -}}
{{- define "portolan.decided" -}}
{{- $decided := dict
      "healthzBindAddress" .Values.config.healthzBindAddress
      "metricsBindAddress" (include "portolan.metricsBindAddress" .)
      "oomScoreAdj" .Values.config.oomScoreAdj -}}
{{- if .Values.apiServer -}}
{{- $_ := set $decided "apiserver" (printf "https://%s" (trimPrefix "https://" .Values.apiServer)) -}}
{{- else if not .Values.kubeProxy.configMap -}}
{{- fail "apiServer is needed: the API server's own address as HOST:PORT, for example --set apiServer=192.0.2.10:6443. The cluster IP of kubernetes.default will not do, because Portolan is what makes it work. `kubectl cluster-info` and the kubelet's kubeconfig on a node name the address." -}}
{{- end -}}
{{- if .Values.kubeProxy.cleanup -}}
{{- $_ := set $decided "cleanupKubeProxy" true -}}
{{- end -}}
{{- if not .Values.conntrack.manage -}}
{{- $leave := dict
      "conntrackMaxPerCore" 0
      "conntrackMin" 0
      "conntrackTcpTimeoutEstablished" "0s"
      "conntrackTcpTimeoutCloseWait" "0s"
      "conntrackTcpBeLiberal" false
      "conntrackUdpTimeout" "0s"
      "conntrackUdpTimeoutStream" "0s" -}}
{{- $decided = merge $decided $leave -}}
{{- end -}}
{{- toYaml $decided -}}
{{- end -}}

{{- /* The configuration file: what the values say, without what is empty, and what the chart decides. */ -}}
{{- define "portolan.config" -}}
{{- $config := dict -}}
{{- range $name, $value := .Values.config -}}
{{- if not (or (kindIs "invalid" $value) (and (or (kindIs "string" $value) (kindIs "slice" $value)) (empty $value))) -}}
{{- $_ := set $config $name $value -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (include "portolan.decided" . | fromYaml)) -}}
{{- end -}}

{{- /* The configuration in the container. kube-proxy's ConfigMap names its kubeconfig by kube-proxy's own folder. */ -}}
{{- define "portolan.configFile" -}}
{{- if .Values.kubeProxy.configMap -}}/var/lib/kube-proxy/config.conf{{- else -}}/etc/portolan/config.yaml{{- end -}}
{{- end -}}

{{- define "portolan.args" -}}
- run
- --config
- {{ include "portolan.configFile" . }}
- --node
- $(PORTOLAN_NODE)
{{- if eq .Values.dns.mode "local" }}
- --dns
- local
{{ include "portolan.dnsArgs" . }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /*
The environment of both containers. Where the configuration is and what the node's name is stand here too, so that what is run
beside the agent with `kubectl exec` judges by the agent's settings. kube-proxy's ConfigMap stays as it is, so there the chart
decides by environment.
*/ -}}
{{- define "portolan.env" -}}
- name: PORTOLAN_CONFIG
  value: {{ include "portolan.configFile" . }}
- name: PORTOLAN_NODE
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- if eq .Values.dns.mode "local" }}
- name: PORTOLAN_COREFILE
  value: /etc/coredns/Corefile
- name: PORTOLAN_DNS_SERVICE
  value: {{ .Values.dns.service }}
{{- end }}
- name: PORTOLAN_LOG
  value: {{ .Values.log | quote }}
{{- if .Values.kubeProxy.configMap }}
{{- range $name, $value := include "portolan.decided" . | fromYaml }}
- name: PORTOLAN_{{ $name | snakecase | upper }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "portolan.volumeMounts" -}}
- name: config
  mountPath: {{ include "portolan.configFile" . | dir }}
  readOnly: true
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- if eq .Values.dns.mode "local" }}
{{ include "portolan.dnsVolumeMounts" . }}
{{- end }}
{{- end -}}

{{- /* What both forms of the DNS server are told: Corefile, DNS Service. */ -}}
{{- define "portolan.dnsArgs" -}}
- --corefile
- /etc/coredns/Corefile
- --dns-service
- {{ .Values.dns.service }}
{{- end -}}

{{- define "portolan.dnsVolumeMounts" -}}
- name: corefile
  mountPath: /etc/coredns
  readOnly: true
{{- end -}}

{{- define "portolan.dnsVolumes" -}}
- name: corefile
  configMap:
    name: {{ .Values.dns.corefileConfigMap | default (printf "%s-dns" (include "portolan.fullname" .)) }}
{{- end -}}

{{- /* The token, with a lifetime, and the API server's certificate authority. */ -}}
{{- define "portolan.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end -}}

{{- define "portolan.corefile" -}}
{{- if .Values.dns.corefile -}}
{{ .Values.dns.corefile }}
{{- else -}}
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes {{ .Values.dns.clusterDomain }} in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
{{- end -}}
{{- end -}}

{{- /* What the DNS server reads. Pods only for `pods verified`, which a ConfigMap that is not ours may say as well. */ -}}
{{- define "portolan.dnsRules" -}}
- apiGroups: [""]
  resources: [services, namespaces]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- include "portolan.dnsPodRules" . }}
{{- end -}}

{{- define "portolan.dnsPodRules" -}}
{{- if and (ne .Values.dns.mode "off") (or .Values.dns.corefileConfigMap (regexMatch `pods\s+verified` .Values.dns.corefile)) }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end }}
{{- end -}}

{{- /* Whether there is a Deployment. */ -}}
{{- define "portolan.dnsCentral" -}}
{{- if or (eq .Values.dns.mode "central") (and (eq .Values.dns.mode "local") .Values.dns.central.withLocal) -}}yes{{- end -}}
{{- end -}}

{{- /* One probe: the path, on the health port. */ -}}
{{- define "portolan.probe" -}}
{{- $address := .root.Values.config.healthzBindAddress -}}
{{- $host := include "portolan.host" $address -}}
httpGet:
  path: {{ .path }}
  port: {{ include "portolan.port" $address }}
  {{- if not (has $host (list "0.0.0.0" "::")) }}
  host: {{ $host | quote }}
  {{- end }}
{{- end -}}
