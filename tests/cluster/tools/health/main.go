// Command health reads objects, a JSON document a line, and prints for each how GitOps tools take it: the status by
// kstatus, and the status by the CEL expressions of a Flux Kustomization. The expressions are the arguments, in the
// order in which Flux evaluates them: inProgress, failed, current.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

var inOrder = []status.Status{status.InProgressStatus, status.FailedStatus, status.CurrentStatus}

type answer struct {
	Kstatus string `json:"kstatus"`
	Message string `json:"message"`
	Flux    string `json:"flux"`
}

func main() {
	log.SetFlags(0)
	programs := compiled(os.Args[1:])
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var obj unstructured.Unstructured
		if err := obj.UnmarshalJSON(lines.Bytes()); err != nil {
			log.Fatal(err)
		}
		told, err := json.Marshal(answered(&obj, programs))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(told))
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func compiled(expressions []string) []cel.Program {
	env, err := cel.NewEnv(
		cel.Variable("metadata", cel.DynType), cel.Variable("spec", cel.DynType), cel.Variable("status", cel.DynType),
	)
	if err != nil {
		log.Fatal(err)
	}
	var programs []cel.Program
	for _, text := range expressions {
		ast, issues := env.Compile(text)
		if issues.Err() != nil {
			log.Fatalf("%s: %v", text, issues.Err())
		}
		if !ast.OutputType().IsExactType(cel.BoolType) {
			log.Fatalf("%s: not a truth but %s", text, ast.OutputType())
		}
		program, err := env.Program(ast)
		if err != nil {
			log.Fatalf("%s: %v", text, err)
		}
		programs = append(programs, program)
	}
	return programs
}

func answered(obj *unstructured.Unstructured, programs []cel.Program) answer {
	found, err := status.Compute(obj)
	if err != nil {
		log.Fatal(err)
	}
	flux, err := byExpressions(obj, programs)
	if err != nil {
		return answer{Kstatus: found.Status.String(), Message: found.Message, Flux: err.Error()}
	}
	return answer{Kstatus: found.Status.String(), Message: found.Message, Flux: flux.String()}
}

// byExpressions follows RFC 0009 of Flux: an edit that was not observed is in progress, then the first expression that
// holds decides, and an object for which none holds is in progress.
func byExpressions(obj *unstructured.Unstructured, programs []cel.Program) (status.Status, error) {
	observed, known, err := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if err != nil {
		return "", err
	}
	if known && observed != obj.GetGeneration() {
		return status.InProgressStatus, nil
	}
	for index, program := range programs {
		value, _, err := program.Eval(obj.Object)
		if err != nil {
			return "", err
		}
		if holds, isTruth := value.Value().(bool); isTruth && holds {
			return inOrder[index], nil
		}
	}
	return status.InProgressStatus, nil
}
