# make test is all that CI runs. Everything else is for people.

STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
MODULES     := $(shell go list -m -f '{{.Dir}}')
FUZZTIME    ?= 20s

.PHONY: test check servers unit bench fuzz fmt conformance

test: check servers unit

# Formatting, vet and staticcheck, over every module of go.work.
check:
	@unformatted="$$(gofmt -l $(MODULES))"; \
	if [ -n "$$unformatted" ]; then echo "gofmt needs to be run on:"; echo "$$unformatted"; exit 1; fi
	@for m in $(MODULES); do (cd $$m && echo "vet, staticcheck: $$m" && go vet ./... && $(STATICCHECK) ./...) || exit 1; done

servers:
	@./scripts/servers

# Two packages at a time: each starts servers of its own.
unit:
	go test -race -timeout 15m -p 2 work

bench:
	go test -run '^$$' -bench . -benchmem ./cache ./invalidate ./notify

# Every fuzz target of every package for FUZZTIME.
fuzz:
	@for pkg in $$(go list work); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

fmt:
	gofmt -w $(MODULES)

# The public suite http-cache-tests against examples/proxy. Needs node and npm.
conformance:
	@./scripts/conformance/run
