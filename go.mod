module github.com/activationlock/sdk

go 1.26

require (
	github.com/groob/plist v0.0.0-20220217120414-63fa881b19a5
	github.com/stretchr/testify v1.12.1
	go.mozilla.org/pkcs7 v0.10.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
