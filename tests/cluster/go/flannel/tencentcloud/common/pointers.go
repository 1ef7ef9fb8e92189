// Package common is as much of Tencent Cloud's as flannel is compiled with: one of its back ends, which no test runs, asks for it.
package common

func StringPtr(value string) *string { return &value }

func BoolPtr(value bool) *bool { return &value }

func StringPtrs(values []string) []*string {
	pointers := make([]*string, len(values))
	for place := range values {
		pointers[place] = &values[place]
	}
	return pointers
}
