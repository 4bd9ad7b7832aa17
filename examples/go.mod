module github.com/activationlock/sdk/examples

go 1.26

require (
	github.com/activationlock/sdk v0.0.0
	github.com/micromdm/nanodep v0.7.0
	github.com/micromdm/nanolib v0.5.0
	github.com/micromdm/nanomdm v0.9.0
	github.com/micromdm/plist v0.2.1
	github.com/rogpeppe/go-internal v1.16.0
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5
)

require (
	github.com/google/btree v1.0.0 // indirect
	github.com/groob/plist v0.0.0-20220217120414-63fa881b19a5 // indirect
	github.com/peterbourgon/diskv/v3 v3.0.1 // indirect
	github.com/smallstep/pkcs7 v0.2.3 // indirect
	go.mozilla.org/pkcs7 v0.10.0 // indirect
	golang.org/x/sys v0.26.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

replace github.com/activationlock/sdk => ../
