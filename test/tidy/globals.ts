// Which identifiers of a file mean something outside it: those that no scope of the file declares.
import type { Node } from "oxc-parser";
import { parse, walk } from "./source.ts";
import type { SourceFile } from "./source.ts";

export type GlobalUse = { readonly name: string; readonly node: Node; readonly parent: Node };

export function globalUses(file: SourceFile): readonly GlobalUse[] {
  const uses: GlobalUse[] = [];
  walk(parse(file).program, (node, ancestors) => {
    const parent = ancestors[ancestors.length - 1];
    if (node.type !== "Identifier" || parent === undefined || !isReference(node, parent)) return;
    if (!ancestors.some((scope) => declares(scope, node.name))) uses.push({ name: node.name, node, parent });
  });
  return uses;
}

const VALUES_IN_TYPES = ["TSAsExpression", "TSSatisfiesExpression", "TSNonNullExpression", "TSInstantiationExpression"];

/** Whether an identifier stands for a value, rather than naming a member, a type or a declaration. */
function isReference(node: Node, parent: Node): boolean {
  if (parent.type.startsWith("TS")) return VALUES_IN_TYPES.includes(parent.type);
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed;
  if (parent.type === "Property" || parent.type === "MethodDefinition" || parent.type === "PropertyDefinition")
    return parent.key !== node || parent.computed;
  return !/^(Import|Export).*Specifier$|^(Labeled|Break|Continue)Statement$|^MetaProperty$/.test(parent.type);
}

function declares(scope: Node, name: string): boolean {
  switch (scope.type) {
    case "FunctionDeclaration":
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      return scope.id?.name === name || scope.params.some((pattern) => binds(pattern, name));
    case "Program":
    case "BlockStatement":
    case "StaticBlock":
      return scope.body.some((statement) => statementDeclares(statement, name));
    case "SwitchStatement":
      return scope.cases.some(({ consequent }) => consequent.some((statement) => statementDeclares(statement, name)));
    case "CatchClause":
      return scope.param !== null && binds(scope.param, name);
    case "ForStatement":
      return scope.init !== null && statementDeclares(scope.init, name);
    case "ForInStatement":
    case "ForOfStatement":
      return statementDeclares(scope.left, name);
    default:
      return false;
  }
}

function statementDeclares(node: Node, name: string): boolean {
  switch (node.type) {
    case "VariableDeclaration":
      return node.declarations.some(({ id }) => binds(id, name));
    case "FunctionDeclaration":
    case "TSDeclareFunction":
    case "ClassDeclaration":
      return node.id?.name === name;
    case "ImportDeclaration":
      return node.specifiers.some(({ local }) => local.name === name);
    case "ExportNamedDeclaration":
      return node.declaration !== null && statementDeclares(node.declaration, name);
    default:
      return false;
  }
}

function binds(pattern: Node, name: string): boolean {
  switch (pattern.type) {
    case "Identifier":
      return pattern.name === name;
    case "AssignmentPattern":
      return binds(pattern.left, name);
    case "RestElement":
      return binds(pattern.argument, name);
    case "ArrayPattern":
      return pattern.elements.some((element) => element !== null && binds(element, name));
    case "ObjectPattern":
      return pattern.properties.some((property) =>
        binds(property.type === "Property" ? property.value : property, name),
      );
    default:
      return false;
  }
}
