//go:build tools

// Package apiserver pins the Kubernetes programs that the tests run against.
package apiserver

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
