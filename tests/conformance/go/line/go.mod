module peerage.invalid/conformance/line

go 1.25.7
